// @ts-check
/**
 * One node of background-crash.test.ts, on the built package: Express, Koa and Fastify on free ports, with their sessions
 * in the Redis of REDIS_URL, committed as COMMIT says. Each write takes DELAY_MS before Redis is asked, so that there is
 * something to lose. Prints its ports; ends when its input does, politely: `close()` drains.
 */
import { createServer } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import express from "express";
import Fastify from "fastify";
import { createSessions } from "holdfast";
import { session as expressSession } from "holdfast/express";
import { session as fastifySession } from "holdfast/fastify";
import { session as koaSession } from "holdfast/koa";
import { redisStore } from "holdfast/redis";
import Koa from "koa";
import { serveUntilTold } from "../support/serve-until-told.mjs";

const inner = redisStore(String(process.env.REDIS_URL));
const sessions = createSessions({
  secret: "a secret of the tests of a crash, long enough",
  commit: process.env.COMMIT === "background" ? "background" : "before-response",
  storeTimeout: "10s",
  store: {
    now: () => inner.now(),
    read: (key, call) => inner.read(key, call),
    async write(key, record, expected, call) {
      // The login is not what is lost.
      if (expected !== "absent") await delay(Number(process.env.DELAY_MS));
      return inner.write(key, record, expected, call);
    },
    touch: (key, stamp, call) => inner.touch(key, stamp, call),
    remove: (key, end, call) => inner.remove(key, end, call),
    close: async () => inner.close?.(),
  },
});

/**
 * @param {object} session
 * @param {string} url
 */
function answer(session, url) {
  Object.assign(session, Object.fromEntries(new URL(url, "http://localhost").searchParams));
  return { ...session };
}

const onExpress = express();
onExpress.use(expressSession(sessions));
onExpress.use((req, res) => void res.json(answer(req.session, req.originalUrl)));

const onKoa = new Koa();
onKoa.use(koaSession(sessions));
onKoa.use((ctx) => {
  ctx.body = answer(ctx.session, ctx.url);
});

const onFastify = Fastify();
await onFastify.register(fastifySession, { sessions });
onFastify.get("/*", async (request) => answer(request.session, request.url));
await onFastify.ready();

const servers = [createServer(onExpress), createServer(onKoa.callback()), onFastify.server];
await serveUntilTold(servers, () => sessions.close());
