// @ts-check
/**
 * A Redis Cluster with replicas, as production runs it. Plain Node. Called by the failover tests and by long runs;
 * `redis-topologies.ts` has one without replicas for the store's contract.
 */
import { isFollowed } from "./redis-followers.mjs";
import { makeNodes, replicationOf, stopAll } from "./redis-nodes.mjs";
import { waitFor } from "./redis-processes.mjs";

/**
 * @typedef {import("./redis-nodes.mjs").Fleet} Fleet
 * @typedef {import("./redis-nodes.mjs").Node} Node
 */

const slotCount = 16_384;

/**
 * Starts it; resolves when all slots are served and every replica follows.
 * @param {{ masters?: number, replicas?: number, nodeTimeoutMs?: number, isolable?: boolean, config?: readonly string[] }} [options]
 *   `replicas`: of each master; `isolable`: behind TCP gates, for `cutOff()`; `config`: more lines for each Redis, such
 *   as `cluster-require-full-coverage no`
 */
export async function startCluster(options = {}) {
  const { masters: size = 3, replicas = 1, nodeTimeoutMs = 1_000, isolable = false } = options;
  // A replica stands for election however long it was without its master: in tests that may be long.
  const base = [`cluster-node-timeout ${nodeTimeoutMs}`, "cluster-replica-validity-factor 0"];
  const config = [...base, ...(options.config ?? [])];
  const nodes = await makeNodes(size * (1 + replicas), { isolable, isCluster: true, config });
  try {
    await Promise.all(nodes.map((node) => node.start()));
    await join(nodes, size);
    const cluster = new Cluster(nodes, { size, replicas });
    await cluster.settled();
    return cluster;
  } catch (error) {
    await stopAll(nodes);
    throw error;
  }
}

/**
 * The first `size` nodes become masters of all slots, the others their replicas in turn.
 * @param {readonly Node[]} nodes
 * @param {number} size
 */
async function join(nodes, size) {
  const [first] = nodes;
  if (first === undefined) throw new Error("no node");
  const announced = await first.command("CONFIG", "GET", "cluster-announce-bus-port");
  const busPort = Array.isArray(announced) ? String(announced[1]) : "";
  for (const [index, node] of nodes.entries()) {
    await node.command("CLUSTER", "SET-CONFIG-EPOCH", index + 1);
    if (index < size) {
      const from = Math.floor((slotCount * index) / size);
      const to = Math.floor((slotCount * (index + 1)) / size) - 1;
      await node.command("CLUSTER", "ADDSLOTSRANGE", from, to);
    }
  }
  for (const node of nodes.slice(1)) await node.command("CLUSTER", "MEET", "127.0.0.1", first.publicPort, busPort);
  const knowEachOther = async () => {
    const tables = (await Promise.all(nodes.map((node) => node.command("CLUSTER", "NODES")))).map(String);
    return tables.every((table) => table.trim().split("\n").length === nodes.length && !table.includes("handshake"));
  };
  await waitFor(knowEachOther, "the nodes to know each other");
  for (const [index, node] of nodes.slice(size).entries()) {
    const id = String(await nodes[index % size]?.command("CLUSTER", "MYID"));
    await waitFor(async () => (await node.command("CLUSTER", "REPLICATE", id)) === "OK", "a replica to follow");
  }
}

/** @implements {Fleet} */
class Cluster {
  kind = /** @type {const} */ ("cluster");
  /** @type {readonly import("./redis-processes.mjs").RedisProcess[]} */
  sentinels = [];

  /**
   * @param {readonly Node[]} nodes
   * @param {{ size: number, replicas: number }} shape
   */
  constructor(nodes, { size, replicas }) {
    this.nodes = nodes;
    this.size = size;
    this.replicas = replicas;
    this.url = `redis+cluster://${nodes.map(({ publicPort }) => `127.0.0.1:${publicPort}`).join(",")}`;
  }

  get #reachable() {
    return this.nodes.filter(({ isUp, isCutOff }) => isUp && !isCutOff);
  }

  async masters() {
    const [first] = this.#reachable;
    if (first === undefined) return [];
    const rows = (await tableOf(first)).filter(({ flags, hasSlots }) => {
      return /master/.test(flags) && !/fail|noaddr/.test(flags) && hasSlots;
    });
    return rows.flatMap(({ port }) => this.nodes.filter(({ publicPort }) => publicPort === port));
  }

  /**
   * The master of a slot, and its running replicas.
   * @param {number} slot
   */
  async shardOf(slot) {
    const [first] = this.#reachable;
    const ranges = await first?.command("CLUSTER", "SLOTS");
    if (!Array.isArray(ranges)) throw new Error("no CLUSTER SLOTS");
    const range = ranges.find(([from, to]) => slot >= from && slot <= to);
    const nodes = range.slice(2).flatMap((/** @type {[string, number]} */ [, port]) => {
      return this.nodes.filter(({ publicPort }) => publicPort === port);
    });
    return { master: /** @type {Node} */ (nodes[0]), replicas: /** @type {Node[]} */ (nodes.slice(1)) };
  }

  /** @param {Node} old */
  async failedOver(old, withinMs = 240_000) {
    const isOver = async () => {
      const masters = await this.masters();
      if (masters.length !== this.size || masters.includes(old)) return false;
      const states = await Promise.all(masters.map((each) => each.command("CLUSTER", "INFO")));
      return states.every((state) => String(state).includes("cluster_state:ok"));
    };
    await waitFor(isOver, "another master for its slots", withinMs);
  }

  async settled(withinMs = 240_000) {
    const isSettled = async () => {
      const masters = await this.masters();
      if (masters.length !== this.size) return false;
      if (!(await Promise.all(this.#reachable.map((node) => this.#isInStep(node)))).every(Boolean)) return false;
      return (await Promise.all(masters.map((master) => isFollowed(master, this.#reachable)))).every(Boolean);
    };
    await waitFor(isSettled, "a Cluster that is whole", withinMs);
  }

  async stop() {
    await stopAll(this.nodes);
  }

  /** @param {Node} node */
  async #isInStep(node) {
    const [replication, info, rows] = await Promise.all([
      replicationOf(node),
      node.command("CLUSTER", "INFO"),
      tableOf(node),
    ]);
    const missing = this.nodes.length - this.#reachable.length;
    const failed = rows.filter(({ flags }) => /fail/.test(flags)).length;
    if (!String(info).includes("cluster_state:ok") || failed > missing) return false;
    if (!replication.includes("role:master")) return replication.includes("master_link_status:up");
    return this.replicas === 0 || missing > 0 || !replication.includes("connected_slaves:0");
  }
}

/**
 * CLUSTER NODES of one node.
 * @param {Node} node
 */
async function tableOf(node) {
  const lines = String(await node.command("CLUSTER", "NODES"))
    .trim()
    .split("\n");
  return lines.map((line) => {
    const [, address = "", flags = "", , , , , , slots] = line.split(" ");
    return { port: Number(/:(\d+)@/.exec(address)?.[1]), flags, hasSlots: slots !== undefined };
  });
}
