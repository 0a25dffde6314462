// @ts-check
/**
 * Redis Cluster as processes of the chaos run: three masters with their replicas, every one of them behind a proxy of
 * the network, for clients and for its bus. Called by `cluster.mjs`; its counterpart is `examples/cluster/sentinel.mjs`.
 */

import { freePort } from "../../../examples/cluster/free-port.mjs";
import { until } from "../../../examples/cluster/processes.mjs";
import { ask, info, startRedis } from "../../../examples/cluster/redis.mjs";

/**
 * @typedef {{ name: string, port: number, publicPort: number, publicBus: number }} Server
 */

const slots = 16_384;
const shards = 3;

/**
 * @param {import("../../../examples/cluster/processes.mjs").Processes} processes
 * @param {import("./network.mjs").Network} network
 * @param {{ nodeTimeoutMs: number, replicasEach: number }} options `nodeTimeoutMs`: how long a master may be silent
 */
export async function startRedisCluster(processes, network, { nodeTimeoutMs, replicasEach }) {
  const names = Array.from({ length: shards * (1 + replicasEach) }, (_, index) => `r${index + 1}`);
  const servers = await Promise.all(names.map((name) => startServer(processes, network, { name, nodeTimeoutMs })));
  await introduce(servers);

  /** Who is master now, by most of the servers. */
  const masters = async () => {
    const views = await Promise.all(servers.map(({ port }) => ask(port, "CLUSTER", "NODES").catch(() => "")));
    const serving = views.map((view) => String(view).split("\n").filter(isServing));
    return servers.filter(({ publicPort }) => {
      const believers = serving.filter((lines) => lines.some((line) => line.includes(`:${publicPort}@`)));
      return believers.length > servers.length / 2;
    });
  };
  const cluster = {
    servers,
    masters,
    /** As an operator does it. @param {{ publicPort: number }} master */
    async handOver({ publicPort }) {
      for (const { port } of servers) {
        const { role, master_port: followed } = await info(port, "replication");
        if (role === "slave" && Number(followed) === publicPort) return ask(port, "CLUSTER", "FAILOVER");
      }
      throw new Error("a master without a replica");
    },
    /** For `redisStore()`. */
    url: `redis+cluster://${servers.map(({ publicPort }) => `127.0.0.1:${publicPort}`).join(",")}`,
    /** Whether everybody is there, sees everybody, and each master has its replicas, which follow it. */
    async isWhole() {
      const states = await Promise.all(servers.map(({ port }) => ask(port, "CLUSTER", "INFO")));
      const views = await Promise.all(servers.map(({ port }) => ask(port, "CLUSTER", "NODES")));
      const roles = await Promise.all(servers.map(({ port }) => info(port, "replication")));
      const isCalm = (/** @type {unknown} */ view) => !/fail|handshake|noaddr|disconnected/.test(String(view));
      const serving = roles.filter(({ role }) => role === "master");
      const following = roles.filter(({ role, master_link_status: link }) => role === "slave" && link === "up");
      return (
        states.every((state) => isComplete(String(state), servers.length)) &&
        views.every(isCalm) &&
        serving.length === shards &&
        serving.every((fields) => countOnline(fields) === replicasEach) &&
        following.length === shards * replicasEach
      );
    },
  };
  await until(cluster.isWhole, "the Cluster to be whole");
  return cluster;
}

/** @param {string} info CLUSTER INFO @param {number} size */
const isComplete = (info, size) => info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${size}\r`);

/** A master's replicas, by INFO replication. @param {Record<string, string>} fields */
const countOnline = (fields) =>
  Object.keys(fields).filter((name) => /^slave\d+$/.test(name) && fields[name]?.includes("state=online")).length;

/** A line of CLUSTER NODES: a master that has slots and is not down. @param {string} line */
function isServing(line) {
  const [, , flags = "", , , , , , ...ranges] = line.split(" ");
  return flags.includes("master") && !/fail(?!\?)/.test(flags) && ranges.length > 0;
}

/**
 * @param {import("../../../examples/cluster/processes.mjs").Processes} processes
 * @param {import("./network.mjs").Network} network
 * @param {{ name: string, nodeTimeoutMs: number }} options
 * @returns {Promise<Server>}
 */
async function startServer(processes, network, { name, nodeTimeoutMs }) {
  const [port, bus] = [await freePort(), await freePort()];
  const [publicPort, publicBus] = [await network.publish(name, port), await network.publish(name, bus)];
  const config = [
    "cluster-enabled yes",
    `cluster-node-timeout ${nodeTimeoutMs}`,
    `cluster-port ${bus}`,
    "cluster-announce-ip 127.0.0.1",
    `cluster-announce-port ${publicPort}`,
    `cluster-announce-bus-port ${publicBus}`,
    "cluster-allow-replica-migration no",
    `bind-source-addr ${network.sourceOf(name)}`,
  ];
  await startRedis(processes, { name, port, config });
  return { name, port, publicPort, publicBus };
}

/** @param {Server[]} servers */
async function introduce(servers) {
  const [first] = servers;
  if (first === undefined) throw new Error("no server");
  for (const [index, { port }] of servers.entries()) {
    await ask(port, "CLUSTER", "SET-CONFIG-EPOCH", String(index + 1));
    if (index > 0) await ask(port, "CLUSTER", "MEET", "127.0.0.1", `${first.publicPort}`, `${first.publicBus}`);
  }
  for (const [index, { port }] of servers.slice(0, shards).entries()) {
    const [from, to] = [Math.floor((slots * index) / shards), Math.floor((slots * (index + 1)) / shards) - 1];
    await ask(port, "CLUSTER", "ADDSLOTSRANGE", String(from), String(to));
  }
  const knowsAll = async (/** @type {Server} */ { port }) => {
    const view = String(await ask(port, "CLUSTER", "NODES"));
    return view.trim().split("\n").length === servers.length && !view.includes("handshake");
  };
  for (const server of servers) await until(() => knowsAll(server), "the servers to know each other");
  for (const [index, { port }] of servers.slice(shards).entries()) {
    const id = String(await ask(servers[index % shards]?.port ?? 0, "CLUSTER", "MYID"));
    await until(
      () =>
        ask(port, "CLUSTER", "REPLICATE", id).then(
          () => true,
          () => false,
        ),
      "a replica to follow",
    );
  }
}
