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
import { session } from "holdfast/fastify";
import { memoryStore } from "holdfast/memory";
import { redisStore } from "holdfast/redis";

/** @param {number} port */
export async function start(port) {
  const app = Fastify({ ajv: { customOptions: { coerceTypes: false } } });
  await app.register(session, {
    secret: process.env.SESSION_SECRET ?? "for this example only: 32 characters at least",
    store: process.env.REDIS_URL ? redisStore(process.env.REDIS_URL) : memoryStore(),
    ttl: "30m",
  });

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
  return app.server;
}

if (process.argv[1] === import.meta.filename) start(Number(process.env.PORT ?? 3000));
