// @ts-check
/**
 * Sessions in Fastify: count visits, log in, log out. With REDIS_URL set, every process that uses that Redis and this
 * secret has the same sessions, on Express and Koa too.
 *
 * $ node examples/fastify.js
 * $ curl -b jar -c jar localhost:3000/                                # 200 {"user":null,"views":1}
 * $ curl -b jar -c jar localhost:3000/                                # 200 {"user":null,"views":2}
 * $ curl -b jar -c jar localhost:3000/login --json '{"user":7}'       # 400 …
 * $ curl -b jar -c jar localhost:3000/login --json '{"user":"ada"}'   # 200 {"user":"ada"}
 * $ curl -b jar -c jar localhost:3000/                                # 200 {"user":"ada","views":3}
 * $ curl -b jar -c jar -X POST localhost:3000/logout                  # 204
 * $ curl -b jar -c jar localhost:3000/                                # 200 {"user":null,"views":1}
 */
import Fastify from "fastify";
import { createSessions, healthHandler } from "holdfast";
import { session } from "holdfast/fastify";
import { memoryStore } from "holdfast/memory";
import { redisStore } from "holdfast/redis";

/** @param {number} port */
export async function start(port) {
  const sessions = createSessions({
    secret: process.env.SESSION_SECRET ?? "for this example only: 32 characters at least",
    store: process.env.REDIS_URL ? redisStore(process.env.REDIS_URL) : memoryStore(),
    ttl: "30m",
  });
  const health = healthHandler(sessions);
  const app = Fastify({ ajv: { customOptions: { coerceTypes: false } } });
  app.get("/health", (request, reply) => {
    reply.hijack();
    health(request.raw, reply.raw);
  });
  await app.register(session, { sessions });
  app.addHook("onClose", () => sessions.close());

  app.get("/", async ({ session }) => {
    session.views = (session.views ?? 0) + 1;
    return { user: session.user ?? null, views: session.views };
  });

  const schema = { body: { type: "object", required: ["user"], properties: { user: { type: "string" } } } };
  app.post("/login", { schema }, async (request) => {
    const { user } = /** @type {{ user: string }} */ (request.body);
    await request.session.renew(); // a new id: whoever knew the old one stays outside
    request.session.user = user;
    return { user };
  });

  app.post("/logout", async (request, reply) => {
    await request.session.destroy();
    return reply.status(204).send();
  });

  await app.listen({ port });
  return Object.assign(app.server, { app, sessions });
}

if (process.argv[1] === import.meta.filename) {
  const starting = start(Number(process.env.PORT ?? 3000));
  process.once("SIGTERM", async () => {
    const { app, sessions } = await starting;
    // No connection is kept from here on: each ends with its next answer. One that was kept would get a 503 below.
    app.server.prependListener("request", (_request, response) => response.setHeader("connection", "close"));
    // Health says 404, then 503, for NOTICE milliseconds each: as long as the load balancer takes to notice.
    await sessions.drain({ notice: Number(process.env.NOTICE ?? 0) });
    app.server.keepAliveTimeout = 1; // no idle connection is waited for
    await app.close(); // once what is under way is answered; the hook closes the sessions
  });
}
