// @ts-check
/**
 * The faults of a chaos run, chosen by a seed: app nodes are killed beside whatever befalls the Redis masters, which is
 * one thing at a time, as Redis promises nothing when a second server fails before the first is back. Called by
 * `run.mjs`.
 */
import { setTimeout as pause } from "node:timers/promises";
import { until } from "../../../examples/cluster/processes.mjs";
import { info } from "../../../examples/cluster/redis.mjs";
import { seeded } from "../../support/seeded.mjs";
import { oneOf } from "../checker/faults.mjs";

/**
 * @typedef {import("./cluster.mjs").ChaosCluster} ChaosCluster
 * @typedef {"node kill" | "master kill" | "hung master" | "partition" | "stalled replication" | "planned failover"} FaultKind
 *
 * @typedef {object} Fault
 * @property {FaultKind} kind
 * @property {string} target
 * @property {number} at ms since the start of the run
 * @property {number} forMs until it was undone
 * @property {string} [how] what else there is to know
 * @property {number} [lackedBytes] of what the master had, on none of its replicas when it died
 *
 * @typedef {object} Plan
 * @property {number} seed
 * @property {number} calmMs between two faults, on average
 * @property {number} seconds of load; none comes in the last of it, so that its outage is seen to end
 * @property {readonly FaultKind[]} kinds in this order at first, then shuffled
 * @property {() => number} now ms since the start of the run
 * @property {(fault: Fault) => (undone: Partial<Fault>) => void} begin told of each, and of its end
 */

/** How long before the end of the load the last fault comes. */
const lastMs = 6_000;

/** How long its replicas get nothing from a master that is killed then. */
const stallMs = 300;

/** @type {Record<Exclude<FaultKind, "node kill">, (cluster: ChaosCluster, master: string, random: () => number) => Promise<Partial<Fault>>>} */
const masterFaults = {
  /** Back after a while as what it was: Sentinel, or the Cluster, tells it who is master now. */
  "master kill": async (cluster, master, random) => {
    await cluster.kill(master);
    await pause(200 + random() * 4_000);
    await cluster.revive(master);
    return {};
  },
  /** It wakes up as a master that was replaced, or in the middle of that, or just in time. */
  "hung master": async ({ processes }, master, random) => {
    processes.hang(master);
    await pause(200 + random() * 5_000);
    processes.wake(master);
    return {};
  },
  /** Cut off from clients, Sentinels and replicas alike; healed with its old connections, or without. */
  partition: async ({ network }, master, random) => {
    const isReset = random() < 0.5;
    await network.cut(master);
    await pause(200 + random() * 5_000);
    await network.heal(master, isReset);
    return { how: isReset ? "connections reset" : "connections kept" };
  },
  /** Its replicas get nothing more, then it is killed: what they lack is gone. It is back when another has taken over. */
  "stalled replication": async (cluster, master) => {
    const { network, redis } = cluster;
    const { server, replaced } = await successionOf(cluster, master);
    await network.hold(server.port);
    await pause(stallMs);
    const lackedBytes = await lackedBy(server, redis.servers);
    await cluster.kill(master);
    await network.drop(server.port);
    await replaced();
    await cluster.revive(master);
    return { lackedBytes };
  },
  /** SENTINEL FAILOVER, CLUSTER FAILOVER: as an operator does it, with all servers well. */
  "planned failover": async (cluster, master) => {
    const { server, replaced } = await successionOf(cluster, master);
    await until(async () => (await cluster.redis.handOver(server)) === "OK", `${master} to be handed over`);
    await replaced();
    return {};
  },
};

/**
 * A master, and how to wait until another has taken its place.
 * @param {ChaosCluster} cluster
 * @param {string} master
 */
async function successionOf({ redis }, master) {
  const server = redis.servers.find(({ name }) => name === master);
  if (server === undefined) throw new Error(`there is no ${master}`);
  const { length: shards } = await redis.masters();
  const isReplaced = async () => {
    const masters = await redis.masters();
    return masters.length === shards && !masters.includes(server);
  };
  return { server, replaced: () => until(isReplaced, `another master in place of ${master}`) };
}

/**
 * How much of its own the replica that is farthest ahead lacks.
 * @param {{ port: number, publicPort: number }} master
 * @param {readonly { port: number }[]} servers
 */
async function lackedBy(master, servers) {
  const { master_repl_offset: sent } = await info(master.port, "replication");
  const states = await Promise.all(servers.map(({ port }) => info(port, "replication").catch(() => undefined)));
  const own = states.filter((state) => state?.role === "slave" && Number(state.master_port) === master.publicPort);
  return Number(sent) - Math.max(...own.map((state) => Number(state?.slave_repl_offset)));
}

/**
 * Injects faults until the load is over; each is undone when this resolves.
 * @param {ChaosCluster} cluster
 * @param {Plan} plan
 */
export async function injectFaults(cluster, plan) {
  const masterKinds = plan.kinds.filter((kind) => kind !== "node kill");
  const loops = [];
  if (masterKinds.length > 0) loops.push(harmMasters(cluster, plan, masterKinds));
  if (plan.kinds.includes("node kill")) loops.push(killNodes(cluster, plan));
  await Promise.all(loops);
}

/**
 * Waits some calm time.
 * @param {Plan} plan
 * @param {() => number} random
 * @returns {Promise<boolean>} whether there is time for a fault
 */
async function calm({ calmMs, seconds, now }, random) {
  const waitMs = calmMs * (0.5 + random());
  if (now() + waitMs > seconds * 1000 - lastMs) return false;
  await pause(waitMs);
  return true;
}

/**
 * @param {ChaosCluster} cluster
 * @param {Plan} plan
 */
async function killNodes(cluster, plan) {
  const random = seeded(plan.seed * 31 + 1);
  while (await calm(plan, random)) {
    const { name } = oneOf(random, cluster.nodes);
    const at = plan.now();
    const end = plan.begin({ kind: "node kill", target: name, at, forMs: 0 });
    await cluster.kill(name);
    await pause(300 + random() * 2_500);
    await cluster.revive(name);
    end({ forMs: plan.now() - at });
    const { port } = cluster.nodes.find((node) => node.name === name) ?? {};
    await cluster.processes.ready(name, async () => (await fetch(`http://127.0.0.1:${port}/?op=health`)).ok);
  }
}

/**
 * @param {ChaosCluster} cluster
 * @param {Plan} plan
 * @param {Exclude<FaultKind, "node kill">[]} kinds
 */
async function harmMasters(cluster, plan, kinds) {
  const random = seeded(plan.seed * 31 + 2);
  let left = [...kinds];
  let next = left[0];
  while (await calm(plan, random)) {
    const kind = next ?? oneOf(random, left);
    left = left.filter((other) => other !== kind);
    if (left.length === 0) left = [...kinds];
    else if (next !== undefined) next = left[0];
    if (left.length === kinds.length) next = undefined;
    const masters = await cluster.redis.masters();
    const { name } = oneOf(random, masters);
    const at = plan.now();
    const end = plan.begin({ kind, target: name, at, forMs: 0 });
    const undone = await masterFaults[kind](cluster, name, random);
    end({ forMs: plan.now() - at, ...undone });
    const isOver = () => plan.now() > plan.seconds * 1000;
    await until(async () => isOver() || (await cluster.isWhole()), `${name} to be back after "${kind}"`);
  }
}
