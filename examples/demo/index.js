// @ts-check
/**
 * The demo: one session across Express, Koa and Fastify. `npm start` runs it.
 *
 *   PORT            Express's port, 3000 by default; Koa gets the next one, Fastify the one after
 *   REDIS_URL       redis://… : sessions are kept there, and shared with every other process that uses it
 *   SESSION_SECRET  at least 32 characters; the same one in every process that shares sessions
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { realpathSync } from "node:fs";
import { createSessions } from "holdfast";
import { memoryStore } from "holdfast/memory";
import { redisStore } from "holdfast/redis";
import { onExpress } from "./express.js";
import { onFastify } from "./fastify.js";
import { onKoa } from "./koa.js";
import { titles } from "./page.js";

const frameworks = /** @type {import("./page.js").Framework[]} */ (["express", "koa", "fastify"]);

/** How long a request that is being answered may go on once the demo was told to end. */
const graceMs = 5_000;

/**
 * Starts all three servers.
 * @param {number} port Express's; the others get the next two. `0`: any three that are free.
 * @param {{ redisUrl?: string | undefined, secret?: string | undefined }} [settings] from the environment by default
 * @returns {Promise<{ urls: Record<import("./page.js").Framework, string>, close(): Promise<void> }>}
 */
export async function start(port, { redisUrl, secret } = fromEnvironment()) {
  const store = redisUrl ? redisStore(redisUrl) : memoryStore();
  const sessions = createSessions({
    secret: secret || randomBytes(32).toString("base64url"),
    store,
    ttl: "30m",
    absoluteTimeout: "8h",
    cookie: { secure: "auto" }, // the demo speaks plain HTTP, whatever NODE_ENV says
  });
  sessions.on("storeError", ({ error }) => console.error(`The session store: ${error.message}`));
  const place = {
    ports: { express: 0, koa: 0, fastify: 0 },
    store: redisUrl ? "Redis" : "this process's memory",
    idleMs: sessions.options.ttlMs,
    absoluteMs: sessions.options.absoluteTimeoutMs,
  };
  const servers = {
    express: onExpress(sessions, place),
    koa: onKoa(sessions, place),
    fastify: await onFastify(sessions, place),
  };
  const close = async () => {
    await Promise.all(Object.values(servers).map(closeServer));
    await sessions.close();
    await store.close?.();
  };
  try {
    for (const [index, name] of frameworks.entries()) {
      place.ports[name] = await listen(servers[name], port && port + index);
    }
  } catch (error) {
    await close();
    throw error;
  }
  const { express, koa, fastify } = place.ports;
  return {
    urls: {
      express: `http://localhost:${express}`,
      koa: `http://localhost:${koa}`,
      fastify: `http://localhost:${fastify}`,
    },
    close,
  };
}

function fromEnvironment() {
  return { redisUrl: process.env.REDIS_URL, secret: process.env.SESSION_SECRET };
}

/**
 * @param {import("node:http").Server} server
 * @param {number} port
 */
async function listen(server, port) {
  server.listen(port);
  await once(server, "listening");
  return /** @type {import("node:net").AddressInfo} */ (server.address()).port;
}

/**
 * Ends a server: idle connections at once, each busy one after its answer, or after the grace.
 * @param {import("node:http").Server} server
 */
async function closeServer(server) {
  if (!server.listening) return;
  const closed = once(server, "close");
  server.close();
  const sweep = setInterval(() => server.closeIdleConnections(), 50);
  const end = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(end);
}

async function main() {
  const port = Number(process.env.PORT || 3000);
  if (!Number.isInteger(port) || port < 0 || port > 65_533) {
    throw new Error(
      `PORT must be a whole number up to 65533, so that two more follow it; it is "${process.env.PORT}".`,
    );
  }
  const settings = fromEnvironment();
  const { urls, close } = await start(port, settings);
  const lines = frameworks.map((name) => `  ${titles[name].padEnd(8)} ${urls[name]}`);
  const store = settings.redisUrl
    ? `in Redis at ${new URL(settings.redisUrl).host}`
    : "in this process (set REDIS_URL to keep them in Redis)";
  const secret = settings.secret
    ? "from SESSION_SECRET"
    : "made for this run (set SESSION_SECRET to keep sessions over a restart, and to share them between processes)";
  console.log(`holdfast: one session, three frameworks\n\n${lines.join("\n")}\n`);
  console.log(`  Sessions ${store}\n  Secret   ${secret}\n\nCtrl-C ends it.`);
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, close);
}

/** @param {NodeJS.ErrnoException & { port?: number }} error */
function report(error) {
  console.error(
    error.code === "EADDRINUSE"
      ? `Port ${error.port} is in use. Choose three free ones in a row by the first: PORT=4000 npm start`
      : error.message,
  );
  process.exitCode = 1;
}

if (realpathSync(process.argv[1] ?? "") === import.meta.filename) main().catch(report);
