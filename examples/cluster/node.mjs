// @ts-check
/**
 * One app node of a cluster: the framework of your choice, the same routes, one session across all of them.
 *
 *   FRAMEWORK       express, koa or fastify
 *   PORT            where it listens, on the loopback; 0 or nothing: a free one
 *   NODE            its name in the answers; the framework's by default
 *   ROUTE           its name behind the cookie's value too, for a balancer that routes by it; none by default
 *   REDIS_URL       where the sessions are; a node alone, without one, keeps them in its memory
 *   SESSION_SECRET  the same on all nodes, 32 characters or more
 *   SECURE_COOKIE   1: TLS ends at the balancer, the cookie is `__Host-sid`; otherwise `sid`
 *   NOTICE          how long the balancer takes to notice a health check's answer, "6s" by default: SIGTERM waits twice
 *
 *   GET  /health            200, 404 while draining, 503 when it wants nobody any more
 *   GET  /                  what the session holds, and who says so
 *   POST /count             adds one to the session's counter, atomically
 *   POST /set?key=…&value=… sets a key
 *   POST /login?user=…      a new id
 *   POST /logout
 */
import { createServer } from "node:http";
import express from "express";
import Fastify from "fastify";
import { createSessions, healthHandler } from "holdfast";
import { session as expressSession } from "holdfast/express";
import { session as fastifySession } from "holdfast/fastify";
import { session as koaSession } from "holdfast/koa";
import { redisStore } from "holdfast/redis";
import Koa from "koa";

const {
  FRAMEWORK = "express",
  PORT = "0",
  NODE = FRAMEWORK,
  ROUTE,
  REDIS_URL,
  SECURE_COOKIE,
  NOTICE = "6s",
} = process.env;

/** @typedef {import("holdfast").Session & import("holdfast").SessionData & Record<string, unknown>} Held */

const sessions = createSessions({
  secret: process.env.SESSION_SECRET ?? "for this example only: 32 characters at least",
  ttl: "30m",
  cookie: { secure: SECURE_COOKIE === "1" },
  ...(ROUTE ? { route: ROUTE } : {}),
  ...(REDIS_URL ? { store: redisStore(REDIS_URL) } : {}),
});
sessions.on("storeError", ({ operation, error }) => console.error(`${NODE}: ${operation}: ${error.message}`));
const health = healthHandler(sessions);

/**
 * What every framework answers.
 * @param {string} method
 * @param {string} target
 * @param {() => unknown} read the request's session
 * @returns {Promise<{ status: number, body: object }>}
 */
async function answer(method, target, read) {
  const { pathname, searchParams } = new URL(target, "http://node");
  const session = /** @type {Held} */ (read());
  switch (`${method} ${pathname}`) {
    case "GET /":
      break;
    case "POST /count":
      await session.update((data) => {
        data.count = Number(data.count ?? 0) + 1;
      });
      break;
    case "POST /set":
      session[searchParams.get("key") ?? "key"] = searchParams.get("value") ?? "";
      break;
    case "POST /login":
      await session.renew(); // a new id: whoever knew the old one stays outside
      session.user = searchParams.get("user") ?? "somebody";
      break;
    case "POST /logout":
      await session.destroy();
      break;
    default:
      return { status: 404, body: { node: NODE, error: "There is nothing here." } };
  }
  return { status: 200, body: { node: NODE, framework: FRAMEWORK, pid: process.pid, data: { ...session } } };
}

/** @param {unknown} error */
function failure(error) {
  const { status = 500, code, message } = /** @type {{ status?: number, code?: string, message?: string }} */ (error);
  if (status >= 500) console.error(`${NODE}: ${message}`);
  return { status, body: { node: NODE, error: code ?? "ERR" } };
}

/** @type {Record<string, () => import("node:http").Server | Promise<import("node:http").Server>>} */
const hosts = {
  express() {
    const app = express();
    app.get("/health", health);
    app.use(expressSession(sessions));
    app.use(async (req, res) => {
      const { status, body } = await answer(req.method, req.originalUrl, () => req.session);
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
    app.use(async (ctx, next) => {
      if (ctx.path === "/health") {
        ctx.respond = false;
        health(ctx.req, ctx.res);
        return;
      }
      try {
        await next();
      } catch (error) {
        Object.assign(ctx, failure(error));
      }
    });
    app.use(koaSession(sessions));
    app.use(async (ctx) => {
      Object.assign(ctx, await answer(ctx.method, ctx.url, () => ctx.session));
    });
    return createServer(app.callback());
  },

  async fastify() {
    const app = Fastify();
    app.get("/health", (request, reply) => {
      reply.hijack();
      health(request.raw, reply.raw);
    });
    await app.register(async (routes) => {
      await routes.register(fastifySession, { sessions });
      routes.setErrorHandler((error, _request, reply) => {
        const { status, body } = failure(error);
        return reply.status(status).send(body);
      });
      routes.all("/*", async (request, reply) => {
        const { status, body } = await answer(request.method, request.url, () => request.session);
        return reply.status(status).send(body);
      });
    });
    await app.ready();
    return app.server;
  },
};

const host = hosts[FRAMEWORK];
if (host === undefined) throw new Error(`FRAMEWORK is "${FRAMEWORK}": write express, koa or fastify.`);
const server = await host();
server.listen(Number(PORT), "127.0.0.1", () => {
  const address = server.address();
  console.log(`${NODE} listens on port ${typeof address === "object" ? address?.port : PORT}`);
});

process.once("SIGTERM", async () => {
  // Kept-alive connections end with their next answer, so that none is cut while a request is on its way.
  server.prependListener("request", (_request, response) => response.setHeader("connection", "close"));
  await sessions.drain({ notice: /** @type {import("holdfast").Duration} */ (NOTICE) });
  server.close(async () => {
    await sessions.close();
    console.log(`${NODE} has ended`);
  });
});
process.once("SIGINT", () => server.close(() => sessions.close()));
