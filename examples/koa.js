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
import { session } from "holdfast/koa";
import { memoryStore } from "holdfast/memory";
import { redisStore } from "holdfast/redis";
import Koa from "koa";

/** @param {number} port */
export function start(port) {
  const app = new Koa();
  app.use(
    session({
      secret: process.env.SESSION_SECRET ?? "for this example only: 32 characters at least",
      store: process.env.REDIS_URL ? redisStore(process.env.REDIS_URL) : memoryStore(),
      ttl: "30m",
    }),
  );

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

  return app.listen(port);
}

if (process.argv[1] === import.meta.filename) start(Number(process.env.PORT ?? 3000));
