// @ts-check
/**
 * One chaos run: starts the cluster, lets the checker's clients and the faults loose, keeps the history, reads
 * everything back and has it judged. Called by `npm run chaos` and by the tests.
 */
import { createWriteStream } from "node:fs";
import { Redis } from "ioredis";
import { Clients } from "../checker/clients.mjs";
import { Model } from "../checker/model.mjs";
import { readStore as readRecords } from "../checker/run.mjs";
import { silenceMs, startCluster } from "./cluster.mjs";
import { injectFaults } from "./faults.mjs";
import { Outages } from "./outages.mjs";

/**
 * @typedef {object} ChaosOptions
 * @property {number} seconds of load
 * @property {number} seed
 * @property {import("./cluster.mjs").Topology} topology
 * @property {readonly import("./faults.mjs").FaultKind[]} [kinds] of faults; default all that may lose nothing
 * @property {number} [calmMs] between faults, on average
 * @property {number} [browsers]
 * @property {number} [requests] at a time, of one browser
 * @property {number} [thinkMs] between two operations of one client, at most
 * @property {boolean} [rotates] whether browsers renew their sessions
 * @property {object | undefined} [durability] the apps' option of that name; "stalled replication" needs it
 * @property {number} [slackMs] how long beyond `storeTimeout` a request may take: handler, balancer
 * @property {number} [leniency] by how much a busy machine may stretch what is promised in time; default 1
 * @property {string} [history] the file that keeps operations and faults, one JSON line each
 *
 * @typedef {object} ChaosReport
 * @property {number} seed
 * @property {string} topology
 * @property {number} seconds
 * @property {number} operations
 * @property {number} keys live sessions in the store at the end
 * @property {Record<string, Record<string, number>>} byKind how many by kind and outcome
 * @property {Record<string, number>} errors how many by kind
 * @property {Record<string, import("./outages.mjs").PhaseFigures>} phases ms
 * @property {Record<string, import("./outages.mjs").OutageFigures>} outages of writers
 * @property {number} longestWaitMs
 * @property {number[]} lackedBytes of each master that died while replication was stalled, on none of its replicas
 * @property {import("../checker/model.mjs").Violation[]} violations
 */

/** @type {readonly import("./faults.mjs").FaultKind[]} */
export const faultKinds = [
  "master kill",
  "hung master",
  "partition",
  "node kill",
  "stalled replication",
  "planned failover",
];

/** What a master acknowledges while replication is stalled is lost with it, but for what replicas confirmed. */
const needsDurability = "stalled replication";

/** The apps' own, by default. */
const storeTimeoutMs = 1_000;
/** What a writer may miss at most, beyond the time that a master may be silent; and half of the writers. */
const longestOutageMs = 5_000;
const medianOutageMs = 2_500;

/**
 * @param {ChaosOptions} options
 * @returns {Promise<ChaosReport>}
 */
export async function chaos(options) {
  const { seconds, seed, topology, calmMs = 2_000, durability } = options;
  const isJudged = (/** @type {string} */ kind) => durability !== undefined || kind !== needsDurability;
  const { kinds = faultKinds.filter(isJudged) } = options;
  if (!kinds.every(isJudged)) {
    throw new Error(`"${needsDurability}" needs durability: what replicas don't confirm is lost with its master`);
  }
  const { browsers = 12, requests = 2, thinkMs = 20, rotates = true } = options;
  const file = options.history === undefined ? undefined : createWriteStream(options.history);
  const write = (/** @type {object} */ line) => file?.write(`${JSON.stringify(line)}\n`);
  write({ chaos: { ...options, kinds, calmMs } });
  const judge = new Judge(options);
  const cluster = await startCluster({ topology, durability });
  const clients = new Clients({
    targets: [{ framework: "balancer", port: cluster.port }],
    seed,
    rotates,
    expected: [0, 502, 503, 504],
    record: (entry) => {
      write(entry);
      judge.add(entry);
    },
  });
  try {
    const begin = (/** @type {import("./faults.mjs").Fault} */ fault) => {
      const end = judge.outages.begin(fault);
      return (/** @type {Partial<import("./faults.mjs").Fault>} */ undone) => {
        write({ fault: { ...fault, ...undone } });
        end(undone);
      };
    };
    const plan = { seed, seconds, kinds, calmMs, begin, now: () => clients.now() };
    const signal = AbortSignal.timeout(seconds * 1000);
    await Promise.all([
      clients.run({ browsers, requests, thinkMs, signal }).then(() => {
        write({ over: clients.now() });
        judge.endLoad(clients.now());
      }),
      injectFaults(cluster, plan),
    ]);
    await cluster.serves();
    clients.targets = cluster.nodes.map(({ name, port }) => ({ framework: name, port }));
    await clients.readAll();
    const stored = await readStore(await cluster.redis.masters());
    write({ stored });
    return judge.finish(stored, cluster.died);
  } finally {
    clients.close();
    await cluster.stop();
    await new Promise((resolve) => (file === undefined ? resolve(undefined) : file.end(() => resolve(undefined))));
  }
}

/** Gathers what happened, and says what was promised otherwise. */
export class Judge {
  model = new Model();
  outages = new Outages();
  #isLoadOver = false;
  #longestWaitMs = 0;
  #operations = 0;
  /** @type {Record<string, Record<string, number>>} */
  #byKind = {};

  /** @param {ChaosOptions} options */
  constructor(options) {
    this.options = options;
  }

  /** @param {import("../checker/clients.mjs").Entry} entry */
  add(entry) {
    this.model.add(entry);
    if (this.#isLoadOver) return;
    const { kind, outcome, from, to } = entry;
    this.outages.add(entry);
    this.#operations += 1;
    const outcomes = this.#byKind[kind] ?? {};
    this.#byKind[kind] = outcomes;
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    this.#longestWaitMs = Math.max(this.#longestWaitMs, Math.round(to - from));
  }

  /** Reads after it are judged, but are no load. @param {number} now */
  endLoad(now) {
    this.#isLoadOver = true;
    this.outages.finish(now);
  }

  /**
   * @param {import("../checker/model.mjs").Stored[]} stored
   * @param {Iterable<string>} died what ended by itself
   * @returns {ChaosReport}
   */
  finish(stored, died = []) {
    const { seed, topology, seconds, slackMs = 500, leniency = 1 } = this.options;
    const violations = [...this.model.finish(stored)];
    for (const name of died) violations.push({ kind: "died", detail: `${name} ended by itself` });
    const limitMs = (storeTimeoutMs + slackMs) * leniency;
    if (this.#longestWaitMs > limitMs) {
      violations.push({ kind: "hang", detail: `a request took ${this.#longestWaitMs} ms, ${limitMs} are allowed` });
    }
    const own = this.outages.masterOutages();
    const [median = 0, longest = 0] = [own[Math.floor(own.length / 2)], own.at(-1)];
    const longestMs = (silenceMs[topology] + longestOutageMs) * leniency;
    if (median > medianOutageMs * leniency) {
      violations.push({ kind: "outage", detail: `half of the writers missed ${Math.round(median)} ms or more` });
    }
    if (longest > longestMs) {
      violations.push({
        kind: "outage",
        detail: `a writer missed ${Math.round(longest)} ms, ${longestMs} are allowed`,
      });
    }
    return {
      seed,
      topology,
      seconds,
      operations: this.#operations,
      keys: stored.length,
      byKind: this.#byKind,
      errors: this.outages.errors,
      phases: this.outages.phases(),
      outages: this.outages.outages(),
      longestWaitMs: this.#longestWaitMs,
      lackedBytes: this.outages.faults.flatMap(({ lackedBytes = [] }) => lackedBytes),
      violations,
    };
  }
}

/** @param {{ port: number }[]} masters */
async function readStore(masters) {
  const stored = [];
  for (const { port } of masters) {
    const redis = new Redis({ port, host: "127.0.0.1" });
    stored.push(...(await readRecords(redis)));
    redis.disconnect();
  }
  return stored;
}
