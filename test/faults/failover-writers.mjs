// @ts-check
/**
 * Writers: clients that do nothing but increment their own session's counter, one for each app and shard, so that an
 * outage is as long as the gap between two of their acknowledged writes. They judge nothing; each operation goes to the
 * same record as the random clients' does. Called by `failover-run.mjs`.
 */
import { Agent } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { exchange } from "./checker/clients.mjs";

/**
 * @typedef {import("./checker/clients.mjs").Target} Target
 * @typedef {import("./checker/clients.mjs").Entry} Entry
 * @typedef {Awaited<ReturnType<typeof startWriters>>} Writers
 *
 * @typedef {object} Setting
 * @property {readonly Target[]} apps
 * @property {number} shards how many there are
 * @property {(entry: Entry) => void} record
 * @property {(secret: string) => Promise<number | undefined>} shardOf the port of the master that holds it
 * @property {() => number} now ms since the start
 * @property {AbortSignal} signal
 */

/** Between two writes of one writer. */
const thinkMs = 20;
/** Logins at one app until every shard has a writer: sessions fall on shards at random. */
const mostLogins = 60;

class Writer {
  /** When writes were acknowledged, on the scale of `performance.now()`. @type {number[]} */
  written = [];

  /**
   * @param {Target} target
   * @param {{ life: string, cookie: string, port: number }} session `port`: of the master that held it at first
   */
  constructor(target, { life, cookie, port }) {
    this.target = target;
    this.life = life;
    this.cookie = cookie;
    this.port = port;
  }

  /**
   * The longest time without an acknowledged write that ended, or goes on, after `at`; ms.
   * @param {number} at
   */
  longestGapSince(at) {
    const times = [...this.written, performance.now()];
    const gaps = times.map((time, index) => (time < at ? 0 : time - (times[index - 1] ?? time)));
    return Math.round(Math.max(0, ...gaps));
  }
}

/** @param {Setting} setting */
export async function startWriters(setting) {
  const agent = new Agent({ keepAlive: true });
  const all = await logIn(setting, agent);
  const send = (/** @type {Writer} */ { target, life, cookie }, /** @type {string} */ kind) =>
    exchange({ agent, now: setting.now, record: setting.record }, { kind, life, gen: 0, cookie }, target);
  const finished = Promise.all(
    all.map(async (writer) => {
      while (!setting.signal.aborted) {
        const { entry } = await send(writer, "update");
        if (entry.outcome === "ok") writer.written.push(performance.now());
        await pause(thinkMs);
      }
    }),
  );
  return {
    all,
    finished,
    /** Those whose session the master on that port holds, by the last `locate()`. */
    on: (/** @type {number} */ port) => all.filter((writer) => writer.port === port),
    /** Notes where each session is now: a failover moves it. */
    async locate() {
      for (const writer of all) writer.port = (await setting.shardOf(secretIn(writer.cookie))) ?? 0;
    },
    /** Reads every counter once more, for the model. */
    async readAll() {
      for (const writer of all) await send(writer, "read");
      agent.destroy();
    },
    /**
     * Waits until each has written after `at`, or the time is up.
     * @param {number} at
     * @param {number} withinMs
     */
    async haveWrittenSince(at, withinMs) {
      const end = performance.now() + withinMs;
      while (performance.now() < end && all.some(({ written }) => (written.at(-1) ?? 0) < at)) await pause(10);
    },
  };
}

/**
 * @param {Setting} setting
 * @param {Agent} agent
 */
async function logIn({ apps, shards, record, shardOf, now }, agent) {
  /** @type {Writer[]} */
  const writers = [];
  for (const target of apps) {
    for (
      let login = 0;
      login < mostLogins && writers.filter((each) => each.target === target).length < shards;
      login += 1
    ) {
      const life = `W${target.framework}${login}`;
      const { cookie } = await exchange(
        { agent, now, record },
        { kind: "login", life, gen: 0, cookie: undefined },
        target,
      );
      if (cookie === undefined) throw new Error(`no cookie from the ${target.framework} app`);
      const port = (await shardOf(secretIn(cookie))) ?? 0;
      const isNew = !writers.some((writer) => writer.target === target && writer.port === port);
      if (isNew) writers.push(new Writer(target, { life, cookie, port }));
    }
  }
  return writers;
}

/** @param {string} cookie */
function secretIn(cookie) {
  return cookie.split(".")[0] ?? "";
}
