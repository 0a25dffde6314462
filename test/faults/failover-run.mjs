// @ts-check
/**
 * One failover run: Redis with Sentinels or as a Cluster, app processes in three frameworks, the checker's random
 * clients, and writers that do nothing but write, one for each app and shard. Masters are killed, hung and cut off one
 * after the other; what was measured and what the model found comes back. Called by the failover tests and by
 * `failover.mjs`.
 */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import keySlot from "cluster-key-slot";
import { Redis } from "ioredis";
import { startCluster } from "../support/redis-cluster.mjs";
import { isFollowed } from "../support/redis-followers.mjs";
import { replicationOf } from "../support/redis-nodes.mjs";
import { waitFor } from "../support/redis-processes.mjs";
import { startSentinels } from "../support/redis-sentinels.mjs";
import { seeded } from "../support/seeded.mjs";
import { Clients } from "./checker/clients.mjs";
import { oneOf } from "./checker/faults.mjs";
import { startApp } from "./checker/fleet.mjs";
import { Model } from "./checker/model.mjs";
import { readStore } from "./checker/run.mjs";
import { startWriters } from "./failover-writers.mjs";

/**
 * @typedef {import("../support/redis-nodes.mjs").Fleet} Fleet
 * @typedef {"kill" | "hang" | "cut"} Fault
 *
 * @typedef {object} FailoverOptions
 * @property {"sentinel" | "cluster"} kind
 * @property {readonly Fault[]} faults in their order; each at a master of that time
 * @property {number} seed
 * @property {boolean} [revives] whether a node is back, as a replica, before the next fault; else at once after a hang
 *   and never after a kill
 * @property {number} [browsers] @property {number} [requests] at a time, of one browser
 * @property {string} [history] the file that keeps the operations, one JSON line each
 *
 * @typedef {object} Outage
 * @property {Fault} fault
 * @property {number} redisMs until Redis had another master
 * @property {number[]} hitMs how long each writer of the shard that lost its master wrote nothing
 * @property {number[]} otherMs the same of the other shards' writers
 *
 * @typedef {object} Figures
 * @property {number} seed
 * @property {number} operations
 * @property {number} acknowledged writes
 * @property {Outage[]} outages
 * @property {Record<string, number>} statuses
 * @property {number} longestWaitMs
 * @property {number} lateMs how late this process, where the clients are, came to run at worst
 * @property {import("./checker/model.mjs").Violation[]} violations
 */

const frameworks = ["express", "koa", "fastify"];

/** How long after the failover a writer has to have written again. */
const recoveryMs = 6_000;

/**
 * @param {FailoverOptions} options
 * @returns {Promise<Figures>}
 */
export async function failover({ kind, faults, seed, revives = false, browsers = 4, requests = 2, history }) {
  const isolable = faults.includes("cut");
  // A master that is back is a replica some eight seconds later: without waiting for it, each fault takes one away.
  const replicas = revives ? 2 : Math.max(2, faults.length);
  const fleet = await (kind === "sentinel" ? startSentinels({ isolable, replicas }) : startCluster({ isolable }));
  const apps = await Promise.all(frameworks.map((framework) => startApp({ framework, url: fleet.url })));
  const file = history === undefined ? undefined : createWriteStream(history);
  const late = monitorEventLoopDelay({ resolution: 5 });
  late.enable();
  const model = new Model();
  /** @type {Figures} */
  const figures = {
    seed,
    operations: 0,
    acknowledged: 0,
    outages: [],
    statuses: {},
    longestWaitMs: 0,
    lateMs: 0,
    violations: [],
  };
  /** @param {import("./checker/clients.mjs").Entry} entry */
  const record = (entry) => {
    file?.write(`${JSON.stringify(entry)}\n`);
    count(figures, entry);
    model.add(entry);
  };
  const clients = new Clients({ targets: apps, seed, record });
  const stop = new AbortController();
  try {
    const shardOf = shardsOf(fleet);
    const writers = await startWriters({
      apps,
      shards: (await fleet.masters()).length,
      record,
      shardOf,
      now: () => clients.now(),
      signal: stop.signal,
    });
    const load = clients.run({ browsers, requests, thinkMs: 20, signal: stop.signal });
    const random = seeded(seed);
    for (const fault of faults) {
      await pause(700);
      figures.outages.push(await strike(fleet, { fault, revives, random, writers }));
    }
    // A master that woke up meets its clients, if any went back to it.
    await pause(1_500);
    stop.abort();
    await Promise.all([load, writers.finished]);
    await clients.readAll();
    await writers.readAll();
    figures.violations = model.finish(await stored(fleet));
    for (const app of apps.filter((each) => each.hasDied())) {
      figures.violations.push({ kind: "died", detail: `the ${app.framework} app ended` });
    }
  } finally {
    stop.abort();
    clients.close();
    await Promise.all(apps.map((app) => app.stop()));
    await fleet.stop();
    file?.end();
  }
  figures.lateMs = Math.round(late.max / 1e6);
  return figures;
}

/**
 * One fault, its failover and what the writers saw of it.
 * @param {Fleet} fleet
 * @param {{ fault: Fault, revives: boolean, random: () => number, writers: import("./failover-writers.mjs").Writers }} how
 * @returns {Promise<Outage>}
 */
async function strike(fleet, { fault, revives, random, writers }) {
  const master = oneOf(random, await replaceable(fleet));
  const awake = fleet.nodes.filter(({ isUp, isCutOff }) => isUp && !isCutOff);
  await waitFor(() => isFollowed(master, awake), "a replica that has what its master acknowledges");
  await writers.locate();
  const hit = writers.on(master.publicPort);
  const at = performance.now();
  if (fault === "kill") await master.kill();
  else if (fault === "hang") master.pause();
  else master.cutOff();
  await fleet.failedOver(master);
  const redisMs = Math.round(performance.now() - at);
  await writers.haveWrittenSince(performance.now(), recoveryMs);
  const hitMs = hit.map((writer) => writer.longestGapSince(at));
  const otherMs = writers.all.filter((writer) => !hit.includes(writer)).map((writer) => writer.longestGapSince(at));
  if (fault === "hang") master.resume();
  if (fault === "cut") master.heal();
  if (fault === "kill" && revives) await master.start();
  if (revives) await fleet.settled();
  return { fault, redisMs, hitMs, otherMs };
}

/**
 * The masters that have a replica to take their place.
 * @param {Fleet} fleet
 */
async function replaceable(fleet) {
  const masters = await fleet.masters();
  const states = await Promise.all(masters.map(replicationOf));
  return masters.filter((_, index) => states[index]?.includes("state=online"));
}

/**
 * Finds the master of a cookie's secret, by its port; with Sentinel there is one for all.
 * @param {Fleet} fleet
 */
function shardsOf(fleet) {
  return async (/** @type {string} */ secret) => {
    const key = `holdfast:${createHash("sha256").update(secret).digest("base64url")}`;
    if (!("shardOf" in fleet)) return (await fleet.masters())[0]?.publicPort;
    const cluster = /** @type {Awaited<ReturnType<typeof startCluster>>} */ (fleet);
    return (await cluster.shardOf(keySlot(key))).master.publicPort;
  };
}

/**
 * Every live record, of every master.
 * @param {Fleet} fleet
 */
async function stored(fleet) {
  const records = [];
  for (const { publicPort } of await fleet.masters()) {
    const redis = new Redis({ port: publicPort, host: "127.0.0.1" });
    records.push(...(await readStore(redis)));
    redis.disconnect();
  }
  return records;
}

/**
 * @param {Figures} figures
 * @param {import("./checker/clients.mjs").Entry} entry
 */
function count(figures, { kind, outcome, status, from, to }) {
  figures.operations += 1;
  if (outcome === "ok" && kind !== "read" && kind !== "probe") figures.acknowledged += 1;
  figures.statuses[status] = (figures.statuses[status] ?? 0) + 1;
  figures.longestWaitMs = Math.max(figures.longestWaitMs, Math.round(to - from));
}

/** The middle of a list; the mean of both where there are two. @param {readonly number[]} list */
export function medianOf(list) {
  const sorted = [...list].sort((a, b) => a - b);
  const [low = Number.NaN, high = low] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return Math.round((low + high) / 2);
}
