// @ts-check
/**
 * What the demo's page shows of the cluster: looks at processes, Redis, Sentinels and load balancer a few times a second
 * and hands on what changed. It changes nothing. Called by `demo.mjs`.
 */
import { setTimeout as pause } from "node:timers/promises";
import { info } from "./redis.mjs";

/**
 * @typedef {import("./processes.mjs").State} State
 * @typedef {{ name: string, framework: string, port: number, state: State, balancer: string, check: string, requests: number }} NodeView
 * @typedef {{ name: string, port: number, state: State, role: string, commands: number }} RedisView
 *   `commands`: how many of the sessions' it answered since the last look
 * @typedef {{ nodes: NodeView[], redis: RedisView[], sentinels: { name: string, state: State }[], master: string | null, serving: string | null }} View
 *   `master`: by the Sentinels; `serving`: the Redis that last answered for a session
 *
 * @typedef {object} Watched
 * @property {import("./processes.mjs").Processes} processes
 * @property {{ name: string, framework: string, port: number }[]} nodes
 * @property {import("./sentinel.mjs").SentinelRedis} redis
 * @property {Pick<Awaited<ReturnType<typeof import("./balancer.mjs").startBalancer>>, "view">} balancer
 */

const intervalMs = 200;

export class Watch {
  /** @type {View | undefined} */
  view;
  /** @type {string | null} */
  #serving = null;
  /** The sessions' commands that each Redis has answered. @type {Map<string, number>} */
  #counts = new Map();
  #isOver = false;

  /**
   * @param {Watched} cluster
   * @param {(view: View) => void} onChange
   */
  constructor(cluster, onChange) {
    this.cluster = cluster;
    this.onChange = onChange;
  }

  /** Looks until `stop()`. */
  async run() {
    while (!this.#isOver) {
      const view = await this.#look();
      if (!this.#isOver && JSON.stringify(view) !== JSON.stringify(this.view)) {
        this.view = view;
        this.onChange(view);
      }
      await pause(intervalMs, undefined, { ref: false });
    }
  }

  stop() {
    this.#isOver = true;
  }

  /** @returns {Promise<View>} */
  async #look() {
    const { processes, nodes, redis, balancer } = this.cluster;
    const [statuses, servers] = await Promise.all([balancer.view().catch(() => []), redis.view()]);
    const counted = await Promise.all(servers.map(({ name, port }) => this.#newCommands(name, port)));
    const busiest = Math.max(...counted);
    if (busiest > 0) this.#serving = servers[counted.indexOf(busiest)]?.name ?? null;
    return {
      nodes: nodes.map(({ name, framework, port }) => {
        const { status = "?", check = "", requests = 0 } = statuses.find((each) => each.name === name) ?? {};
        return { name, framework, port, state: processes.state(name), balancer: status, check, requests };
      }),
      redis: servers.map(({ name, port, role }, at) => {
        return { name, port, state: processes.state(name), role, commands: counted[at] ?? 0 };
      }),
      sentinels: redis.sentinels.map(({ name }) => ({ name, state: processes.state(name) })),
      master: servers.find(({ role }) => role === "master")?.name ?? null,
      serving: this.#serving,
    };
  }

  /**
   * GET and EVALSHA come from the sessions' store alone: a replica is sent what a script did, not the script.
   * @param {string} name
   * @param {number} port
   */
  async #newCommands(name, port) {
    const stats = await info(port, "commandstats").catch(() => ({}));
    const callsOf = (/** @type {string | undefined} */ line) => Number(/calls=(\d+)/.exec(line ?? "")?.[1] ?? 0);
    const count = ["get", "evalsha"].reduce((sum, verb) => {
      return sum + callsOf(/** @type {Record<string, string>} */ (stats)[`cmdstat_${verb}`]);
    }, 0);
    const before = this.#counts.get(name);
    this.#counts.set(name, count);
    return before === undefined || count < before ? 0 : count - before;
  }
}
