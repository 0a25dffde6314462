// @ts-check
/** The faults that the checker injects, one at a time with calm between them, chosen by a seed. Called by `run.mjs`. */
import { setTimeout as pause } from "node:timers/promises";

/**
 * @typedef {import("./fleet.mjs").Fleet} Fleet
 * @typedef {() => number} Random
 */

/**
 * One of a list.
 * @template T
 * @param {Random} random
 * @param {readonly T[]} list
 * @returns {T}
 */
export function oneOf(random, list) {
  const item = list[Math.floor(random() * list.length)];
  if (item === undefined) throw new Error("an empty list");
  return item;
}

/** @type {Record<string, (fleet: Fleet, random: Random) => Promise<void>>} */
const faults = {
  /** Redis is killed, and back on its append-only file. */
  kill: ({ redis }, random) => redis.restart(200 + random() * 1200),
  /** Redis hangs; its connections stay. */
  hang: async ({ redis }, random) => {
    redis.pause();
    await pause(200 + random() * 2500);
    redis.resume();
  },
  /** One app's connections are reset. */
  reset: async ({ proxies }, random) => oneOf(random, proxies).reset(),
  /** One app's commands arrive, their answers don't; then the connections are reset. */
  mute: async ({ proxies }, random) => {
    const proxy = oneOf(random, proxies);
    proxy.isMute = true;
    await pause(5 + random() * 300);
    proxy.reset();
    proxy.isMute = false;
  },
  /** One app's way to Redis is slow, both ways. */
  slow: async ({ proxies }, random) => {
    const proxy = oneOf(random, proxies);
    proxy.delayMs = 5 + random() * 120;
    await pause(300 + random() * 1500);
    proxy.delayMs = 0;
  },
  /** Redis forgets the scripts. */
  flush: async ({ redis }) => {
    await redis.direct.script("FLUSH");
  },
};

/**
 * Injects faults until the signal; each is healed when this resolves. Every kind comes once before any comes again.
 * @param {Fleet} fleet
 * @param {{ random: Random, calmMs: number, signal: AbortSignal, report: (fault: string, ms: number) => void }} options
 */
export async function injectFaults(fleet, { random, calmMs, signal, report }) {
  /** @type {string[]} */
  let left = [];
  while (!signal.aborted) {
    await pause(calmMs * (0.5 + random()), undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    if (left.length === 0) left = Object.keys(faults);
    const name = oneOf(random, left);
    left = left.filter((other) => other !== name);
    const startedAt = performance.now();
    await faults[name]?.(fleet, random);
    report(name, performance.now() - startedAt);
  }
}
