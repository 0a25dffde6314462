// @ts-check
/**
 * The app process of outage-apart.test.ts, on the built package: Express, Koa and Fastify on free ports, each with an
 * engine and a connection of its own to the Redis of REDIS_URL. Prints its ports as JSON; ends when its input does.
 *
 *   GET /read       who is signed in, the session's id and its keys
 *   GET /set?k=v    sets keys by plain assignment
 *   GET /public     never touches the session
 *   GET /late       how late the event loop ran at worst since the last such request, ms
 */
import { createServer } from "node:http";
import { monitorEventLoopDelay } from "node:perf_hooks";
import express from "express";
import Fastify from "fastify";
import { createSessions } from "holdfast";
import { session as expressSession } from "holdfast/express";
import { session as fastifySession } from "holdfast/fastify";
import { session as koaSession } from "holdfast/koa";
import { redisStore } from "holdfast/redis";
import Koa from "koa";
import { serveUntilTold } from "../../support/serve-until-told.mjs";

const lateness = monitorEventLoopDelay({ resolution: 5 });
lateness.enable();

const makeSessions = () =>
  createSessions({
    secret: "the outage tests' signing key, 32 or more characters",
    store: redisStore(String(process.env.REDIS_URL)),
    storeTimeout: Number(process.env.STORE_TIMEOUT_MS),
  });

/**
 * @param {() => object} session reads the framework's property
 * @param {string} url
 */
function answer(session, url) {
  const { pathname, searchParams } = new URL(url, "http://localhost");
  if (pathname === "/public") return { page: "public" };
  if (pathname === "/late") {
    const lateMs = lateness.max / 1e6;
    lateness.reset();
    return { lateMs };
  }
  const held = /** @type {import("holdfast").Session & Record<string, unknown>} */ (session());
  if (pathname === "/set") Object.assign(held, Object.fromEntries(searchParams));
  return { id: held.id, user: held["user"] ?? null, keys: Object.keys(held) };
}

const engines = [makeSessions(), makeSessions(), makeSessions()];

const onExpress = express().set("env", "test");
onExpress.use(expressSession(/** @type {import("holdfast").Sessions} */ (engines[0])));
onExpress.use((req, res) => void res.json(answer(() => req.session, req.originalUrl)));

const onKoa = new Koa();
onKoa.silent = true;
onKoa.use(koaSession(/** @type {import("holdfast").Sessions} */ (engines[1])));
onKoa.use((ctx) => {
  ctx.body = answer(() => ctx.session, ctx.url);
});

const onFastify = Fastify();
await onFastify.register(fastifySession, { sessions: /** @type {import("holdfast").Sessions} */ (engines[2]) });
onFastify.get("/*", async (request) => answer(() => request.session, request.url));
await onFastify.ready();

const servers = [createServer(onExpress), createServer(onKoa.callback()), onFastify.server];
await serveUntilTold(servers, () => Promise.all(engines.map((engine) => engine.close())));
