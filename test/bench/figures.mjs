// @ts-check
/** Figures from Redis and of this process, for `scale.mjs`: memory, CPU of an operation, the commands that were used. */
import process from "node:process";
import { redisCpuUs } from "./machine.mjs";

/** @typedef {import("ioredis").Redis} Redis */

/**
 * Bytes that Redis uses for data.
 *
 * @param {Redis} client
 */
export async function memoryOf(client) {
  return Number(/^used_memory:(\d+)/m.exec(await client.info("memory"))?.[1]);
}

/**
 * CPU of `count` operations: in this process and in Redis, µs each.
 *
 * @param {Redis} client
 * @param {number} count
 * @param {() => Promise<void>} operation
 * @param {number} [atOnce]
 */
export async function rate(client, count, operation, atOnce = 50) {
  const [redisBefore, before] = [await redisCpuUs(client), process.cpuUsage()];
  for (let done = 0; done < count; done += atOnce) {
    await Promise.all(Array.from({ length: Math.min(atOnce, count - done) }, operation));
  }
  const { user, system } = process.cpuUsage(before);
  return { hereUs: (user + system) / count, redisUs: ((await redisCpuUs(client)) - redisBefore) / count };
}

/**
 * How often each command was run since Redis started, scripts' own included.
 *
 * @param {Redis} client
 * @returns {Promise<Map<string, number>>}
 */
export async function usedCommands(client) {
  const lines = (await client.info("commandstats")).matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm);
  return new Map([...lines].map(([, name = "", calls]) => [name.toLowerCase(), Number(calls)]));
}
