// @ts-check
/**
 * A master, its replicas and their Sentinels, as production runs them. Plain Node. Called by the failover tests and by
 * long runs; `redis-topologies.ts` has a small one for the store's contract.
 */

import { freePort } from "../../examples/cluster/free-port.mjs";
import { isFollowed } from "./redis-followers.mjs";
import { makeNodes, replicationOf, stopAll } from "./redis-nodes.mjs";
import { RedisProcess, waitFor } from "./redis-processes.mjs";

/**
 * @typedef {import("./redis-nodes.mjs").Fleet} Fleet
 * @typedef {import("./redis-nodes.mjs").Node} Node
 */

/**
 * Starts them; resolves when each knows the others.
 * @param {{ name?: string, replicas?: number, sentinels?: number, downAfterMs?: number, isolable?: boolean, config?: readonly string[] }} [options]
 *   `isolable`: behind TCP gates, for `cutOff()`; `config`: more lines for each Redis
 * @returns {Promise<Fleet>}
 */
export async function startSentinels(options = {}) {
  const { name = "mymaster", replicas = 2, downAfterMs = 500, isolable = false, config = [] } = options;
  const nodes = await makeNodes(1 + replicas, { isolable, isCluster: false, config });
  const count = options.sentinels ?? 3;
  const [first] = nodes;
  /** @type {RedisProcess[]} */
  const sentinels = [];
  try {
    if (first === undefined) throw new Error("no node");
    await Promise.all(nodes.map((node) => node.start()));
    for (const node of nodes.slice(1)) {
      await node.command("REPLICAOF", "127.0.0.1", first.publicPort);
      await node.command("CONFIG", "REWRITE");
    }
    // A Sentinel looks for replicas at its start, and then every ten seconds.
    const isFollowed = async () => (await replicationOf(first)).match(/state=online/g)?.length === replicas;
    await waitFor(isFollowed, "the replicas to follow");
    for (let index = 0; index < count; index += 1) {
      const lines = [
        `sentinel monitor ${name} 127.0.0.1 ${first.publicPort} ${Math.floor(count / 2) + 1}`,
        `sentinel down-after-milliseconds ${name} ${downAfterMs}`,
        // Also how long one that failed is not tried again.
        `sentinel failover-timeout ${name} 3000`,
        `sentinel parallel-syncs ${name} ${replicas}`,
      ];
      sentinels.push(new RedisProcess(await freePort(), lines, ["--sentinel"]));
    }
    await Promise.all(sentinels.map((sentinel) => sentinel.start()));
    // What a `down-after` below a second or two needs: why is in `examples/cluster/sentinel.mjs`.
    const pace = ["PING-PERIOD", 300, "INFO-PERIOD", 1_000];
    await Promise.all(sentinels.map((each) => each.command("SENTINEL", "DEBUG", ...pace)));
    const group = new SentinelGroup(name, nodes, sentinels);
    await group.settled();
    return group;
  } catch (error) {
    await stopAll([...sentinels, ...nodes]);
    throw error;
  }
}

/** @implements {Fleet} */
class SentinelGroup {
  kind = /** @type {const} */ ("sentinel");

  /**
   * @param {string} name
   * @param {readonly Node[]} nodes
   * @param {readonly RedisProcess[]} sentinels
   */
  constructor(name, nodes, sentinels) {
    this.name = name;
    this.nodes = nodes;
    this.sentinels = sentinels;
    this.url = `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",")}/0?name=${name}`;
  }

  get #awake() {
    return this.sentinels.filter(({ isUp }) => isUp);
  }

  async masters() {
    const asked = this.#awake.map((each) => each.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", this.name));
    const ports = (await Promise.all(asked)).map((answer) => (Array.isArray(answer) ? Number(answer[1]) : 0));
    if (ports.some((port) => port !== ports[0])) return [];
    return this.nodes.filter(({ publicPort }) => publicPort === ports[0]);
  }

  /**
   * A Sentinel that was held up for two seconds trusts nothing it sees for thirty (its TILT mode): so long a limit.
   * @param {Node} old
   */
  async failedOver(old, withinMs = 240_000) {
    const isOver = async () => {
      const [master] = await this.masters();
      return master !== undefined && master !== old && (await replicationOf(master)).includes("role:master");
    };
    await waitFor(isOver, "another master by all Sentinels", withinMs);
  }

  async settled(withinMs = 240_000) {
    const isSettled = async () => {
      const [master] = await this.masters();
      if (master === undefined) return false;
      const followers = this.nodes.filter((node) => node !== master && node.isUp && !node.isCutOff);
      const states = await Promise.all(followers.map(replicationOf));
      if (!states.every((state) => state.includes("master_link_status:up"))) return false;
      if (!(await replicationOf(master)).includes(`connected_slaves:${followers.length}`)) return false;
      return (await isFollowed(master, followers)) && this.#isWatched(followers.length);
    };
    await waitFor(isSettled, "replicas in step and Sentinels that know them", withinMs);
  }

  async stop() {
    await stopAll([...this.sentinels, ...this.nodes]);
  }

  /**
   * A Sentinel fails over to a replica only that it knows, together with others that it knows.
   * @param {number} followers
   */
  async #isWatched(followers) {
    const views = await Promise.all(this.#awake.map((each) => each.command("INFO", "sentinel")));
    return views.every((view) => {
      const [, status, slaves, known] = /status=(\w+),.*slaves=(\d+),sentinels=(\d+)/.exec(String(view)) ?? [];
      return status === "ok" && Number(slaves) >= followers && Number(known) >= this.#awake.length;
    });
  }
}
