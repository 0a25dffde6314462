// @ts-check
/**
 * One node of flood.test.ts and leaks.test.ts, a process of its own on the built package: Express, Koa and Fastify on
 * free ports, with their sessions in the Redis of REDIS_URL. Sends its ports to its parent; to "memory" it answers with
 * the bytes in use after a collection. With TALK=on it says all it can on its standard output: events, errors, logs, and
 * sessions as they are inspected.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { inspect } from "node:util";
import express from "express";
import Fastify from "fastify";
import { createSessions, SessionError } from "holdfast";
import { session as expressSession } from "holdfast/express";
import { session as fastifySession } from "holdfast/fastify";
import { session as koaSession } from "holdfast/koa";
import { redisStore } from "holdfast/redis";
import Koa from "koa";

const talks = process.env.TALK === "on";
const sessions = createSessions({
  secret: String(process.env.SESSION_SECRET),
  store: redisStore(String(process.env.REDIS_URL)),
  maxRecordSize: 4096,
  describe: ({ headers }, { address }) => ({ ip: address, userAgent: headers["user-agent"] }),
  onAnomaly: () => "distrust",
  ...(talks ? { renewalTimeout: 1 } : { storeTimeout: "10s" }),
});

/** @type {readonly (keyof import("holdfast").SessionEvents)[]} */
const events = [
  ...["created", "saved", "merged", "renewed", "destroyed", "gone", "rejected", "anomaly", "suspicious", "conflict"],
  ...["storeError", "cookieSkipped"],
].map((name) => /** @type {keyof import("holdfast").SessionEvents} */ (name));

/** @param {unknown[]} things */
function say(...things) {
  for (const thing of things) console.log(typeof thing === "string" ? thing : inspect(thing, { depth: 8 }));
}

if (talks) {
  for (const name of events) sessions.on(name, (event) => say(`event ${name}`, event, JSON.stringify(event)));
  say(sessions, sessions.options);
}

/**
 * @param {import("holdfast").Session & Record<string, unknown>} session
 * @param {string} path
 */
async function answer(session, path) {
  switch (path) {
    case "/login":
      await session.renew();
      session["user"] = "ada";
      break;
    case "/regenerate":
      await session.regenerate();
      return { user: null };
    case "/visit":
      session["visits"] = Number(session["visits"] ?? 0) + 1;
      break;
    case "/large":
      session["large"] = "x".repeat(5000);
      break;
    case "/unstorable":
      session["big"] = 5n;
      break;
    case "/throw":
      session["visits"] = -1;
      throw new SessionError("ERR_SESSION_GONE", `thrown by the app about ${session.id}`);
    case "/logout":
      await session.destroy();
      return { user: null };
    case "/inspect":
      say(session, session.cookie, JSON.stringify(session), JSON.stringify(session.cookie), `${session}`);
      say(inspect(session, { showHidden: true, depth: 8 }), await sessions.get(session.id));
      break;
  }
  return { user: session["user"] ?? null };
}

const onExpress = express();
onExpress.use(expressSession(sessions));
onExpress.use(async (req, res) => {
  res.json(await answer(/** @type {never} */ (req.session), req.path));
});
/** @type {(...args: Parameters<import("express").ErrorRequestHandler>) => void} */
function failed(error, _req, res, _next) {
  if (talks) say("error", error);
  res.status(error.status ?? 500).json({ error: error.message });
}
onExpress.use(failed);

const onKoa = new Koa();
onKoa.silent = !talks;
if (talks) onKoa.on("error", (error) => say("error", error));
onKoa.use(koaSession(sessions));
onKoa.use(async (ctx) => {
  ctx.body = await answer(/** @type {never} */ (ctx.session), ctx.path);
});

const onFastify = Fastify({ logger: talks ? { level: "trace" } : false });
await onFastify.register(fastifySession, { sessions });
onFastify.all("/*", async (request) => answer(/** @type {never} */ (request.session), request.url));
await onFastify.ready();

const servers = [createServer(onExpress), createServer(onKoa.callback()), onFastify.server];
const ports = [];
for (const server of servers) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ports.push(/** @type {import("node:net").AddressInfo} */ (server.address()).port);
}

process.on("message", () => {
  globalThis.gc?.();
  process.send?.({ heap: process.memoryUsage().heapUsed, rss: process.memoryUsage().rss });
});
process.on("disconnect", () => process.exit());
process.send?.({ ports });
