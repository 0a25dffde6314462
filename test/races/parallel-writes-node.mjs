// @ts-check
/**
 * One node of parallel-writes.test.ts, a process of its own on the built package: Express, Koa and Fastify on free
 * ports, with their sessions in the Redis of REDIS_URL. Prints its ports as JSON; ends when its input does.
 *
 *   POST /begin     begins a session
 *   POST /key/<k>   sets one key, by plain assignment
 *   POST /count     one atomic increment
 *   GET /           all the data
 *   GET /silence    how often, and how long, Redis said nothing so far
 *
 * `?think=<ms>`: how long the handler takes between its arrival and its write.
 */
import { tracingChannel } from "node:diagnostics_channel";
import { createServer } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import express from "express";
import Fastify from "fastify";
import { createSessions } from "holdfast";
import { session as expressSession } from "holdfast/express";
import { session as fastifySession } from "holdfast/fastify";
import { session as koaSession } from "holdfast/koa";
import { redisStore } from "holdfast/redis";
import { Redis } from "ioredis";
import Koa from "koa";
import { serveUntilTold } from "../support/serve-until-told.mjs";

const sessions = createSessions({
  secret: "a secret of the tests of parallel writes",
  store: redisStore(String(process.env.REDIS_URL)),
  storeTimeout: "10s", // the outcome is what is tested here, on a machine that may be busy
});

/** What only a machine that stood still explains, as Redis is well. */
const silence = {
  /** Commands that were given up without a reply. */
  unanswered: 0,
  /** The longest that Redis took to answer a ping, as this process saw it. */
  longestMs: 0,
};
const nothing = () => {};
tracingChannel("ioredis:command").subscribe({
  start: nothing,
  end: nothing,
  asyncStart: nothing,
  asyncEnd: nothing,
  error: (context) => {
    const { error } = /** @type {{ error?: unknown }} */ (context);
    // A reply, even one that refuses, is an answer.
    if (!(error instanceof Error && error.name === "ReplyError")) silence.unanswered++;
  },
});

const pinger = new Redis(String(process.env.REDIS_URL));
async function ping() {
  while (pinger.status !== "end") {
    const sentAt = performance.now();
    await pinger.ping().catch(() => {});
    silence.longestMs = Math.max(silence.longestMs, Math.round(performance.now() - sentAt));
    await delay(20);
  }
}
ping();

/**
 * @param {import("holdfast").Session & Record<string, unknown>} session
 * @param {string} url
 */
async function answer(session, url) {
  const { pathname, searchParams } = new URL(url, "http://localhost");
  const [, what, key = ""] = pathname.split("/");
  if (what === "silence") return silence;
  const think = Number(searchParams.get("think"));
  if (think > 0) await delay(think);
  if (what === "begin") session["began"] = true;
  if (what === "key") session[key] = key;
  if (what === "count") {
    return session.update((/** @type {Record<string, unknown>} */ data) => {
      data["count"] = Number(data["count"] ?? 0) + 1;
      return { count: data["count"] };
    });
  }
  return { ...session };
}

const onExpress = express();
onExpress.use(expressSession(sessions));
onExpress.use(async (req, res) => {
  res.json(await answer(/** @type {never} */ (req.session), req.originalUrl));
});

const onKoa = new Koa();
onKoa.use(koaSession(sessions));
onKoa.use(async (ctx) => {
  ctx.body = await answer(/** @type {never} */ (ctx.session), ctx.url);
});

const onFastify = Fastify();
await onFastify.register(fastifySession, { sessions });
onFastify.all("/*", async (request) => answer(/** @type {never} */ (request.session), request.url));
await onFastify.ready();

const servers = [createServer(onExpress), createServer(onKoa.callback()), onFastify.server];
await serveUntilTold(servers, async () => {
  pinger.disconnect();
  await sessions.close();
});
