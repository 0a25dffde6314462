// @ts-check
/**
 * Sessions in Koa: count visits, log in, log out. With REDIS_URL set, every process that uses that Redis and this
 * secret has the same sessions, on Express and Fastify too.
 *
 * $ node examples/koa.js
 * $ curl -b jar -c jar localhost:3000/                            # 200 {"user":null,"views":1}
 * $ curl -b jar -c jar localhost:3000/                            # 200 {"user":null,"views":2}
 * $ curl -b jar -c jar -X POST 'localhost:3000/login?user=ada'    # 200 {"user":"ada"}
 * $ curl -b jar -c jar localhost:3000/                            # 200 {"user":"ada","views":3}
 * $ curl -b jar -c jar -X POST localhost:3000/logout              # 204
 * $ curl -b jar -c jar localhost:3000/                            # 200 {"user":null,"views":1}
 */
import { createSessions, healthHandler } from "holdfast";
import { session } from "holdfast/koa";
import { memoryStore } from "holdfast/memory";
import { redisStore } from "holdfast/redis";
import Koa from "koa";

/** @param {number} port */
export function start(port) {
  const sessions = createSessions({
    secret: process.env.SESSION_SECRET ?? "for this example only: 32 characters at least",
    store: process.env.REDIS_URL ? redisStore(process.env.REDIS_URL) : memoryStore(),
    ttl: "30m",
  });
  const health = healthHandler(sessions);
  const app = new Koa();
  app.use(async (ctx, next) => {
    if (ctx.path !== "/health") return next();
    ctx.respond = false;
    return health(ctx.req, ctx.res);
  });
  app.use(session(sessions));

  app.use(async (ctx) => {
    const { session } = ctx;
    switch (`${ctx.method} ${ctx.path}`) {
      case "GET /":
        session.views = (session.views ?? 0) + 1;
        ctx.body = { user: session.user ?? null, views: session.views };
        break;
      case "POST /login":
        await session.renew(); // a new id: whoever knew the old one stays outside
        session.user = String(ctx.query.user);
        ctx.body = { user: session.user };
        break;
      case "POST /logout":
        ctx.session = null;
        ctx.status = 204;
    }
  });

  return Object.assign(app.listen(port), { sessions });
}

if (process.argv[1] === import.meta.filename) {
  const server = start(Number(process.env.PORT ?? 3000));
  process.once("SIGTERM", async () => {
    // No connection is kept from here on: each ends with its next answer.
    server.prependListener("request", (_request, response) => response.setHeader("connection", "close"));
    // Health says 404, then 503, for NOTICE milliseconds each: as long as the load balancer takes to notice.
    await server.sessions.drain({ notice: Number(process.env.NOTICE ?? 0) });
    server.close(() => server.sessions.close()); // once what is under way is answered
    server.keepAliveTimeout = 1; // and no idle connection waited for
  });
}
