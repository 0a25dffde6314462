// @ts-check
/**
 * One node of near-cache-nodes.test.ts, a process of its own on the built package: Express, Koa and Fastify on free
 * ports, with their sessions in the Redis of REDIS_URL behind one near cache. Prints its ports as JSON; ends when its
 * input does.
 *
 *   POST /login        begins a session; its id
 *   GET /              the user, or null
 *   POST /count        one change; the count
 *   POST /logout       ends it
 *   POST /revoke/<id>  ends it from elsewhere
 *   GET /near/<id>     whether the near cache answers for it
 */
import { once } from "node:events";
import { createServer } from "node:http";
import express from "express";
import Fastify from "fastify";
import { createSessions } from "holdfast";
import { session as expressSession } from "holdfast/express";
import { session as fastifySession } from "holdfast/fastify";
import { session as koaSession } from "holdfast/koa";
import { nearCache } from "holdfast/near-cache";
import { redisStore } from "holdfast/redis";
import Koa from "koa";

const store = nearCache(redisStore(String(process.env.REDIS_URL)));
const sessions = createSessions({
  secret: "a secret of the tests of the near cache",
  store,
  storeTimeout: "10s", // the outcome is what is tested here, on a machine that may be busy
});

/**
 * @param {{ session: import("holdfast").Session & Record<string, unknown> }} holder
 * @param {string} path
 */
async function answer(holder, path) {
  const [, what, id = ""] = path.split("/");
  if (what === "near") return { near: store.peek?.(id) !== undefined };
  if (what === "revoke") {
    await sessions.destroy(id);
    return { revoked: id };
  }
  const { session } = holder;
  if (what === "login") {
    session["user"] = "ada";
    await session.renew();
    return { id: session.id };
  }
  if (what === "count") session["count"] = Number(session["count"] ?? 0) + 1;
  if (what === "logout") await session.destroy();
  return { user: session["user"] ?? null, count: session["count"] ?? 0 };
}

const onExpress = express();
onExpress.use(expressSession(sessions));
onExpress.use(async (req, res) => {
  res.json(await answer(/** @type {never} */ (req), req.path));
});

const onKoa = new Koa();
onKoa.use(koaSession(sessions));
onKoa.use(async (ctx) => {
  ctx.body = await answer(/** @type {never} */ (ctx), ctx.path);
});

const onFastify = Fastify();
await onFastify.register(fastifySession, { sessions });
onFastify.all("/*", async (request) => answer(/** @type {never} */ (request), request.url));
await onFastify.ready();

const servers = [createServer(onExpress), createServer(onKoa.callback()), onFastify.server];
for (const server of servers) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
}
const ports = servers.map((server) => /** @type {import("node:net").AddressInfo} */ (server.address()).port);
console.log(JSON.stringify(ports));

process.stdin.resume();
await once(process.stdin, "end");
for (const server of servers) {
  server.close();
  server.closeAllConnections();
}
await onFastify.close();
await sessions.close();
