// @ts-check
/**
 * One app process of the checker: Express, Koa or Fastify on the built package, with the routes that the clients drive.
 * Started by `fleet.mjs`, and by the chaos run behind a load balancer, with its settings as one JSON argument; prints
 * its port once it listens. It decides nothing: each answer says what the session held (`life`: the login that it
 * belongs to), and the model judges.
 */
import { createServer } from "node:http";
import express from "express";
import Fastify from "fastify";
import { createSessions } from "holdfast";
import { session as expressSession } from "holdfast/express";
import { session as fastifySession } from "holdfast/fastify";
import { session as koaSession } from "holdfast/koa";
import { redisStore } from "holdfast/redis";
import Koa from "koa";
import { plant } from "./bugs.mjs";

/**
 * @typedef {import("holdfast").Session & Record<string, unknown> & { life?: string, count?: number }} Held
 * @typedef {{ status: number, body: Record<string, unknown> }} Answer
 */

/**
 * @typedef {object} Settings
 * @property {string} framework
 * @property {string} url of Redis
 * @property {string} [direct] of Redis, past the proxies
 * @property {string} [bug] of `bugs.mjs`
 * @property {object} [durability] the store's option of that name
 * @property {string} [name] what answers call this node
 * @property {number} [port]
 */

/** @type {Settings} */
const settings = JSON.parse(process.argv[2] ?? "{}");
const prefix = "holdfast:";
const planted = plant(settings.bug, {
  store: redisStore(settings.url, { prefix, ...(settings.durability && { durability: settings.durability }) }),
  direct: settings.direct ?? "",
  prefix,
});
const sessions = createSessions({
  secret: "the checker's own secret, 32 characters at least",
  ttl: "1h",
  cookie: { secure: false },
  ...planted,
});

const pause = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * What a life holds: `k…` keys with the values that were set, and the counter.
 * @param {Held} session
 */
function contents(session) {
  const keys = Object.fromEntries(Object.entries(session).filter(([name]) => name.startsWith("k")));
  return { life: session.life ?? null, count: session.count ?? 0, keys };
}

/**
 * @param {() => unknown} read the request's session as it is now: `regenerate()` puts another in its place
 * @param {URLSearchParams} query
 * @returns {Promise<Answer>}
 */
async function answer(read, query) {
  if (query.get("op") === "health") return { status: 200, body: {} };
  if (query.get("op") === "vitals") return { status: 200, body: vitals() };
  const current = () => /** @type {Held} */ (read());
  const session = current();
  const life = query.get("life") ?? "";
  if (query.get("op") === "login") {
    await session.regenerate();
    current().life = life;
    return { status: 200, body: { life } };
  }
  if (query.get("op") === "read") return { status: 200, body: contents(session) };
  const found = contents(session);
  // A client's session that is not there, or another's: nothing is written, and the model is told.
  if (found.life !== life && query.get("op") !== "logout") return { status: 401, body: found };
  await pause(Number(query.get("wait") ?? 0));
  switch (query.get("op")) {
    case "set": {
      session[query.get("key") ?? ""] = query.get("value");
      if (query.get("mode") !== "explicit") return { status: 200, body: { life } };
      const outcome = await session.save();
      return { status: outcome === "gone" ? 401 : 200, body: { life: outcome === "gone" ? null : life, outcome } };
    }
    case "update":
      await session.update((data) => {
        data.count = Number(data.count ?? 0) + 1;
      });
      return { status: 200, body: { life } };
    case "rotate":
      await session.renew();
      return { status: 200, body: { life } };
    case "logout":
      await session.destroy();
      return { status: 200, body: found };
  }
  return { status: 400, body: {} };
}

/** What this process holds, once what nobody needs is collected: see `vitals.mjs`. */
function vitals() {
  globalThis.gc?.();
  const active = process.getActiveResourcesInfo();
  const count = (/** @type {string} */ name) => active.filter((each) => each === name).length;
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, heap: heapUsed + external, sockets: count("TCPSocketWrap"), timers: count("Timeout") };
}

/** @param {unknown} error */
function failure(error) {
  const { status = 500, code, message } = /** @type {{ status?: number, code?: string, message: string }} */ (error);
  return { status, body: { life: null, code, message: status === 500 ? message : undefined } };
}

const queryOf = (/** @type {string | undefined} */ url) => new URL(url ?? "/", "http://checker").searchParams;

const hosts = {
  express() {
    const app = express();
    app.use(expressSession(sessions));
    app.use(async (req, res) => {
      const { status, body } = await answer(() => req.session, queryOf(req.url));
      res.status(status).json(body);
    });
    /** @type {express.ErrorRequestHandler} */
    const onError = (error, _req, res, next) => {
      if (res.headersSent) return next(error);
      const { status, body } = failure(error);
      res.status(status).json(body);
    };
    app.use(onError);
    return createServer(app);
  },
  koa() {
    const app = new Koa();
    app.silent = true;
    app.use(async (ctx, next) => {
      try {
        await next();
      } catch (error) {
        Object.assign(ctx, failure(error));
      }
    });
    app.use(koaSession(sessions));
    app.use(async (ctx) => {
      Object.assign(ctx, await answer(() => ctx.session, queryOf(ctx.url)));
    });
    return createServer(app.callback());
  },
  async fastify() {
    const app = Fastify();
    await app.register(fastifySession, { sessions });
    app.all("/", async (request, reply) => {
      const { status, body } = await answer(() => request.session, queryOf(request.raw.url));
      return reply.status(status).send(body);
    });
    app.setErrorHandler(async (error, _request, reply) => {
      const { status, body } = failure(error);
      return reply.status(status).send(body);
    });
    await app.ready();
    return app.server;
  },
};

const server = await hosts[/** @type {keyof typeof hosts} */ (settings.framework)]();
const { name } = settings;
if (name !== undefined) server.prependListener("request", (_, response) => response.setHeader("x-node", name));
server.listen(settings.port ?? 0, "127.0.0.1", () => {
  const address = server.address();
  console.log(`port ${typeof address === "object" ? address?.port : ""}`);
});
// What is left when all is closed keeps this process; nothing may be.
process.once("SIGTERM", () => {
  process.stdin.destroy();
  server.close();
  void sessions.close();
});
// Whoever started it on any port holds this pipe; without it, nobody needs this process.
if (settings.port === undefined) process.stdin.resume().on("end", () => process.exit(0));
