// @ts-check
/**
 * `npm run bench`: what a session costs. The bare framework, the framework's usual session library ("peer") and
 * holdfast, side by side in one run on one real redis-server that the bench starts itself. It runs the built package
 * (`dist/`), as users do.
 *
 *   node test/bench/run.mjs [--quick] [--rounds N] [--requests N] [--connections N] [--only express,read]
 *                           [--network ms] [--latency koa,fastify] [--json file] [--chart file.svg] [--profile folder]
 *
 * `--only` takes frameworks (express, koa, fastify), routes (none, untouched, read, write, login) and variants (bare,
 * peer, peer-tuned, holdfast, near-cache, lazy). `--quick` is a smoke test whose figures mean nothing. `--profile` has each server
 * process write a V8 CPU profile. A run of everything writes its chart to `.github/bench.svg`; `--chart` has one of any
 * run. `--network` is how far away Redis is in the table of latencies (1 ms; 0: no such table), `--latency` takes the
 * frameworks in it.
 *
 * The variant "peer-tuned" is the peer with a cheaper Redis client than its README's, so that the ratio to "peer" can't
 * be read as a victory over a client library. Koa's peer uses holdfast's own client, and has no such variant.
 *
 * "near-cache" is holdfast with `nearCache()` before its store, and all of the pool in it; "lazy" is holdfast with
 * `load: "lazy"` and handlers that ask for the session.
 *
 * How it measures:
 * - Each variant is a process of its own, alone on a core where `taskset` can do that; the load and Redis share the
 *   other ones. CPU per request is the server process's `cpuUsage()` (all threads, user and system) over a fixed number
 *   of requests in a closed loop. The load polls: a server whose answers had to wake it would pay for that, and a bare
 *   framework, which is faster than the load, would not. p99 is of that closed loop.
 * - A round runs every variant once, one after the other, in an order that rotates from round to round. Ratios are
 *   taken within a round and their median is printed, so that what slows the machine down slows all of them.
 * - Sessions come from a pool; a connection has its own share of it, so that no two requests of a "write" meet on one
 *   session: neither retries nor merges are in the figures.
 * - Redis commands are counted in a pass of their own that isn't timed; commands inside scripts don't count.
 *   What Redis itself spends is in the column "Redis µs/req", as a script can cost it more than a plain command.
 * - What rolling expiry adds is counted by a clock of its own (`rolling.mjs`), latency over a network with few
 *   connections through a delaying proxy (`network.mjs`).
 * - What each peer does and why its settings are fair stands in the header of its file in `servers/`.
 */
import { writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chart } from "./chart.mjs";
import { load } from "./load.mjs";
import { describeMachine, pin, redisCpuUs, startRedis, startTarget } from "./machine.mjs";
import { measureNetwork } from "./network.mjs";
import { commandText, latencyTable, rowsOf, table } from "./report.mjs";
import { rollingCommands } from "./rolling.mjs";
import { commandsOf, routes, signIn, verify } from "./verify.mjs";

/** @type {Record<string, string[]>} */
const variants = {
  express: ["bare", "peer", "peer-tuned", "holdfast", "near-cache", "lazy"],
  koa: ["bare", "peer", "holdfast", "near-cache", "lazy"],
  fastify: ["bare", "peer", "peer-tuned", "holdfast", "near-cache", "lazy"],
};

const { values: flags } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    requests: { type: "string" },
    connections: { type: "string", default: "32" },
    only: { type: "string", default: "" },
    network: { type: "string", default: "1" },
    latency: { type: "string" },
    json: { type: "string" },
    chart: { type: "string" },
    profile: { type: "string" },
  },
});
const rounds = wholeNumber("rounds", flags.rounds ?? (flags.quick ? "1" : "9"));
const requests = wholeNumber("requests", flags.requests ?? (flags.quick ? "128" : "4000"));
const connections = wholeNumber("connections", flags.connections);
const delayMs = Number(flags.network);
if (!(delayMs >= 0)) throw new Error(`--network takes milliseconds, got "${flags.network}"`);
const poolSize = connections * (flags.quick ? 4 : 30);
const isWhole = flags.only === "" && !flags.quick;
const chartFile =
  flags.chart ?? (isWhole ? fileURLToPath(new URL("../../.github/bench.svg", import.meta.url)) : undefined);
/** Reads of a session in one `touchInterval`, of which one writes its activity down. */
const perInterval = 20;

/**
 * @param {string} name
 * @param {string} text
 */
function wholeNumber(name, text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} takes a whole number from 1, got "${text}"`);
  return value;
}

/** @param {string[]} all */
function chosen(all) {
  const wanted = flags.only.split(",").filter((word) => all.includes(word));
  return wanted.length === 0 ? all : all.filter((word) => wanted.includes(word));
}

const words = [...Object.keys(variants), ...Object.keys(routes), ...new Set(Object.values(variants).flat())];
for (const word of flags.only.split(",")) {
  if (word !== "" && !words.includes(word)) throw new Error(`--only knows ${words.join(", ")}; got "${word}"`);
}

/** @param {string} text */
function progress(text) {
  process.stderr.write(`${text}\n`);
}

const pinning = pin();
const redis = await startRedis(pinning);
const about = await describeMachine(redis.client, pinning);
/** @type {import("./report.mjs").Row[]} */
const rows = [];
/** @type {string[]} */
const notes = [];
/** @type {import("./network.mjs").Latency[]} */
let latencies = [];
try {
  for (const framework of chosen(Object.keys(variants))) rows.push(...(await benchFramework(framework)));
  for (const isNear of [false, true]) {
    const { total, byName } = await rollingCommands(redis.client, redis.url, { perInterval, isNear });
    const counted = commandText({ commands: total, commandsByName: byName });
    notes.push(
      `rolling expiry, ${isNear ? "near-cache" : "holdfast"}: ${counted} Redis commands a read, ${perInterval} in a touchInterval`,
    );
  }
  if (delayMs > 0) await benchNetwork();
} finally {
  await redis.stop();
}
await report();

async function benchNetwork() {
  const frameworks = flags.latency?.split(",") ?? chosen(Object.keys(variants));
  progress(`latency, Redis ${delayMs} ms away: ${frameworks.join(", ")}`);
  const size = { rounds: Math.min(rounds, 5), requests: Math.min(requests, 1_000) };
  const result = await measureNetwork(pinning, { redisUrl: redis.url, delayMs, ...size, frameworks });
  latencies = result.latencies;
  const note = `Redis behind a proxy that delays answers by ${delayMs} ms (PING: ${result.awayMs.toFixed(2)} ms), 4 connections, ${size.rounds} rounds of ${size.requests} requests`;
  notes.push(`\n${note}\n\n${latencyTable(latencies)}`);
}

/**
 * @param {string} framework
 * @returns {Promise<import("./report.mjs").Row[]>}
 */
async function benchFramework(framework) {
  const contestants = await Promise.all(
    chosen(variants[framework] ?? []).map(async (variant) => {
      const options = { framework, variant, redisUrl: redis.url, profileDir: flags.profile };
      const target = await startTarget(pinning, options);
      await verify(target.port, variant);
      return { variant, target, cookies: await signIn(target.port, poolSize, connections) };
    }),
  );
  const results = [];
  for (const route of chosen(Object.keys(routes))) {
    progress(`${framework} ${route}: ${contestants.map(({ variant }) => variant).join(", ")} × ${rounds}`);
    results.push(...rowsOf(await benchRoute(framework, route, contestants)));
  }
  await Promise.all(contestants.map(({ target }) => target.stop()));
  return results;
}

/**
 * @typedef {{ variant: string, target: import("./machine.mjs").Target, cookies: (string | undefined)[] }} Contestant
 */

/**
 * @param {string} framework
 * @param {string} route
 * @param {Contestant[]} contestants
 * @returns {Promise<import("./report.mjs").Group>}
 */
async function benchRoute(framework, route, contestants) {
  /** @type {import("./report.mjs").Group} */
  const group = { framework, route, samples: {}, commands: {} };
  for (const contestant of contestants) {
    group.samples[contestant.variant] = [];
    // Warm-up: the compiler has seen the route, and a cache every session, before the first round.
    await load({ ...requestOf(route, contestant), requests: Math.max(poolSize, Math.min(requests, 3_000)) });
    group.commands[contestant.variant] = await commandsOf(redis.client, requestOf(route, contestant));
  }
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < contestants.length; turn += 1) {
      const contestant = contestants[(round + turn) % contestants.length];
      if (contestant === undefined) continue;
      group.samples[contestant.variant]?.push(await measure(route, contestant));
    }
  }
  return group;
}

/**
 * @param {string} route
 * @param {Contestant} contestant
 * @returns {Promise<import("./report.mjs").Sample>}
 */
async function measure(route, contestant) {
  const { target } = contestant;
  const [cpuBefore, redisBefore] = [await target.cpuUs(), await redisCpuUs(redis.client)];
  const result = await load({ ...requestOf(route, contestant), requests });
  const [cpuAfter, redisAfter] = [await target.cpuUs(), await redisCpuUs(redis.client)];
  return {
    requestsPerSecond: (result.requests / result.elapsedMs) * 1_000,
    cpuUs: (cpuAfter - cpuBefore) / result.requests,
    p99Ms: result.p99Ms,
    redisCpuUs: (redisAfter - redisBefore) / result.requests,
  };
}

/**
 * @param {string} route
 * @param {Contestant} contestant
 * @returns {Omit<import("./load.mjs").Load, "requests">}
 */
function requestOf(route, { variant, target, cookies }) {
  const known = routes[route];
  if (known === undefined) throw new Error(`unknown route ${route}`);
  const { method, path, cookie, follow = false } = known;
  // The bare server sets no cookie; it gets one of a session cookie's length, so that it parses the same head.
  const pool = variant === "bare" ? cookies.map(() => `sid=${"x".repeat(76)}`) : cookies;
  return { port: target.port, method, path, connections, follow, ...(cookie ? { cookies: pool } : {}) };
}

async function report() {
  const labels = Object.fromEntries(Object.entries(routes).map(([name, { label }]) => [name, label]));
  const settings = `${rounds} rounds of ${requests} requests a cell, ${connections} connections, ${poolSize} sessions`;
  console.log(
    `${about.machine}\n${about.cores}\n${about.versions}\n${settings}\n\n${table(rows, labels)}\n\n${notes.join("\n")}`,
  );
  const json = { ...about, settings, rows, latencies };
  if (flags.json !== undefined) await writeFile(flags.json, JSON.stringify(json, null, 2));
  if (chartFile === undefined) return;
  await writeFile(chartFile, chart(rows, { ...about, settings }));
  console.log(`\nchart: ${chartFile}`);
}
