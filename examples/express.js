// @ts-check
/**
 * Sessions in Express: count visits, log in, log out. With REDIS_URL set, every process that uses that Redis and this
 * secret has the same sessions, on Koa and Fastify too.
 *
 * $ node examples/express.js
 * $ curl -b jar -c jar localhost:3000/                                # 200 {"user":null,"views":1}
 * $ curl -b jar -c jar localhost:3000/                                # 200 {"user":null,"views":2}
 * $ curl -b jar -c jar localhost:3000/login --json '{"user":"ada"}'   # 200 {"user":"ada"}
 * $ curl -b jar -c jar localhost:3000/                                # 200 {"user":"ada","views":3}
 * $ curl -b jar -c jar -X POST localhost:3000/logout                  # 204
 * $ curl -b jar -c jar localhost:3000/                                # 200 {"user":null,"views":1}
 */
import express from "express";
import { createSessions, healthHandler } from "holdfast";
import { session } from "holdfast/express";
import { memoryStore } from "holdfast/memory";
import { redisStore } from "holdfast/redis";

/** @param {number} port */
export function start(port) {
  const sessions = createSessions({
    secret: process.env.SESSION_SECRET ?? "for this example only: 32 characters at least",
    store: process.env.REDIS_URL ? redisStore(process.env.REDIS_URL) : memoryStore(),
    ttl: "30m",
  });
  const app = express();
  app.get("/health", healthHandler(sessions));
  app.use(session(sessions));

  app.get("/", (req, res) => {
    req.session.views = (req.session.views ?? 0) + 1;
    res.json({ user: req.session.user ?? null, views: req.session.views });
  });

  app.post("/login", express.json(), async (req, res) => {
    await req.session.renew(); // a new id: whoever knew the old one stays outside
    req.session.user = String(req.body.user);
    res.json({ user: req.session.user });
  });

  app.post("/logout", async (req, res) => {
    await req.session.destroy();
    res.status(204).end();
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
