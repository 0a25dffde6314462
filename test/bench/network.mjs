// @ts-check
/**
 * Latency with Redis a network away: p50 and p99 of a few connections, so that nobody waits for anything but Redis, with
 * a delaying proxy (`delay-proxy.mjs`) between the server under test and Redis. Called by `run.mjs`.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { load } from "./load.mjs";
import { startTarget } from "./machine.mjs";
import { median } from "./report.mjs";
import { routes, signIn } from "./verify.mjs";

/** Who is compared, and where. */
const variants = ["bare", "peer", "holdfast", "near-cache"];
const measuredRoutes = ["read", "write"];
const connections = 4;

/** @typedef {{ framework: string, route: string, variant: string, p50Ms: number, p99Ms: number }} Latency medians of rounds */

/**
 * @param {import("./machine.mjs").Pinning} pinning
 * @param {{ redisUrl: string, delayMs: number, rounds: number, requests: number, frameworks: string[] }} options
 * @returns {Promise<{ latencies: Latency[], awayMs: number }>} `awayMs`: p50 of a PING through the proxy
 */
export async function measureNetwork(pinning, { redisUrl, delayMs, rounds, requests, frameworks }) {
  const { port, awayMs, stop } = await startNetwork(pinning, redisUrl, delayMs);
  try {
    const latencies = [];
    for (const framework of frameworks) {
      latencies.push(...(await benchFramework(pinning, framework, `redis://127.0.0.1:${port}`, { rounds, requests })));
    }
    return { latencies, awayMs };
  } finally {
    stop();
  }
}

/**
 * A port that leads to Redis through the delaying proxy. Also called by `clients.mjs`.
 *
 * @param {import("./machine.mjs").Pinning} pinning
 * @param {string} redisUrl
 * @param {number} delayMs
 * @returns {Promise<{ port: number, awayMs: number, stop: () => void }>} `awayMs`: p50 of a PING through the proxy
 */
export async function startNetwork(pinning, redisUrl, delayMs) {
  const [execPath = process.execPath, ...execArgv] = [...pinning.others, process.execPath];
  const file = fileURLToPath(new URL("./delay-proxy.mjs", import.meta.url));
  const proxy = fork(file, [new URL(redisUrl).port, String(delayMs)], { execPath, execArgv });
  const [{ port }] = await once(proxy, "message");
  return { port, awayMs: await pingMs(port), stop: () => proxy.disconnect() };
}

/**
 * @param {import("./machine.mjs").Pinning} pinning
 * @param {string} framework
 * @param {string} redisUrl
 * @param {{ rounds: number, requests: number }} size
 * @returns {Promise<Latency[]>}
 */
async function benchFramework(pinning, framework, redisUrl, { rounds, requests }) {
  const contestants = await Promise.all(
    variants.map(async (variant) => {
      const target = await startTarget(pinning, { framework, variant, redisUrl, profileDir: undefined });
      return { variant, target, cookies: await signIn(target.port, connections * 10, connections) };
    }),
  );
  const latencies = [];
  for (const route of measuredRoutes) {
    const { method, path } = routes[route] ?? { method: "", path: "" };
    const cells = contestants.map(({ variant, target, cookies }) => {
      const pool = variant === "bare" ? {} : { cookies };
      return { variant, request: { port: target.port, method, path, connections, ...pool }, p50: [0], p99: [0] };
    });
    for (let round = -1; round < rounds; round += 1) {
      for (const { request, p50, p99 } of cells) {
        const result = await load({ ...request, requests });
        // The round before the first is a warm-up.
        if (round < 0) continue;
        p50[round] = result.p50Ms;
        p99[round] = result.p99Ms;
      }
    }
    for (const { variant, p50, p99 } of cells) {
      latencies.push({ framework, route, variant, p50Ms: median(p50), p99Ms: median(p99) });
    }
  }
  await Promise.all(contestants.map(({ target }) => target.stop()));
  return latencies;
}

/** @param {number} port */
async function pingMs(port) {
  const client = new Redis(port, "127.0.0.1");
  const times = [];
  for (let count = 0; count < 200; count += 1) {
    const sentAt = performance.now();
    await client.ping();
    times.push(performance.now() - sentAt);
  }
  client.disconnect();
  return median(times);
}
