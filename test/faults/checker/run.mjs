// @ts-check
/**
 * One run of the checker: starts the servers, lets clients and faults loose, keeps the history, reads everything back
 * and has it judged. Called by the soak and by the tests.
 */
import { createWriteStream } from "node:fs";
import { request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { seeded } from "../../support/seeded.mjs";
import { Clients } from "./clients.mjs";
import { injectFaults } from "./faults.mjs";
import { startFleet } from "./fleet.mjs";
import { Model } from "./model.mjs";
import { judgeVitals, watch } from "./vitals.mjs";

/**
 * @typedef {object} RunOptions
 * @property {number} seconds
 * @property {number} seed
 * @property {string} [bug] one of `bugs.mjs`
 * @property {readonly string[]} [frameworks] one app process each
 * @property {number} [calmMs] between faults, on average; without it there are none
 * @property {number} [browsers]
 * @property {number} [requests] at a time, of one browser
 * @property {number} [thinkMs] between two operations of one client, at most
 * @property {boolean} [rotates] whether browsers renew their sessions; default true
 * @property {boolean} [watches] whether memory, sockets and timers of the apps are, and their end
 * @property {string} [history] the file that keeps the operations, one JSON line each
 *
 * @typedef {object} Figures
 * @property {number} seed
 * @property {number} seconds of load
 * @property {number} operations
 * @property {Record<string, Record<string, number>>} byKind how many by kind and outcome
 * @property {Record<string, number>} faults
 * @property {number} longestWaitMs
 * @property {number} keys live sessions in the store at the end
 * @property {import("./vitals.mjs").VitalFigures[]} vitals
 * @property {import("./model.mjs").Violation[]} violations
 */

/**
 * @param {RunOptions} options
 * @returns {Promise<Figures>}
 */
export async function check(options) {
  const { seconds, seed, calmMs, browsers = 8, requests = 3, thinkMs = 10, rotates = true } = options;
  const fleet = await startFleet(options);
  const file = options.history === undefined ? undefined : createWriteStream(options.history);
  const write = (/** @type {object} */ line) => file?.write(`${JSON.stringify(line)}\n`);
  write({ seed, seconds, bug: options.bug });
  const model = new Model();
  /** @type {Figures} */
  const figures = {
    seed,
    seconds,
    operations: 0,
    byKind: {},
    faults: {},
    longestWaitMs: 0,
    keys: 0,
    vitals: [],
    violations: [],
  };
  const clients = new Clients({
    targets: fleet.apps,
    seed,
    rotates,
    record: (entry) => {
      write(entry);
      count(figures, entry);
      model.add(entry);
    },
  });
  const watched = options.watches ? await watch(fleet.apps, seconds) : undefined;
  try {
    const signal = AbortSignal.timeout(seconds * 1000);
    const report = (/** @type {string} */ fault, /** @type {number} */ ms) => {
      write({ fault, at: clients.now() - ms, ms });
      figures.faults[fault] = (figures.faults[fault] ?? 0) + 1;
    };
    const faulty = calmMs && injectFaults(fleet, { random: seeded(seed), calmMs, signal, report });
    await Promise.all([clients.run({ browsers, requests, thinkMs, signal }), faulty]);
    await healthy(fleet);
    await clients.readAll();
    const stored = await readStore(fleet.redis.direct);
    write({ stored });
    figures.keys = stored.length;
    figures.violations = model.finish(stored);
    for (const app of fleet.apps.filter((each) => each.hasDied())) {
      figures.violations.push({ kind: "died", detail: `the ${app.framework} app ended` });
    }
    clients.close();
    figures.vitals = (await watched?.end()) ?? [];
    figures.violations.push(...figures.vitals.flatMap(judgeVitals));
  } finally {
    watched?.stop();
    clients.close();
    await fleet.stop();
    await new Promise((resolve) => (file === undefined ? resolve(undefined) : file.end(() => resolve(undefined))));
  }
  return figures;
}

/**
 * @param {Figures} figures
 * @param {import("./model.mjs").Entry} entry
 */
function count(figures, { kind, outcome, from, to }) {
  figures.operations += 1;
  figures.byKind[kind] ??= {};
  const outcomes = figures.byKind[kind];
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  figures.longestWaitMs = Math.max(figures.longestWaitMs, Math.round(to - from));
}

/**
 * Waits until every app reads from Redis again: a cookie that is well signed is all it takes to make it ask.
 * @param {import("./fleet.mjs").Fleet} fleet
 */
async function healthy({ apps }) {
  for (const { port, framework } of apps) {
    const url = `http://127.0.0.1:${port}/?op=login&life=warm`;
    const until = performance.now() + 60_000;
    while ((await statusOf(url)) !== 200) {
      if (performance.now() > until) throw new Error(`the ${framework} app doesn't find its store again`);
      await pause(50);
    }
  }
}

/**
 * On a connection of its own: one that is kept would stand among the app's sockets.
 * @param {string} url
 * @returns {Promise<number | undefined>}
 */
function statusOf(url) {
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent: false }, (answer) => {
      answer.resume().on("end", () => resolve(answer.statusCode));
    });
    asked.on("error", reject).end();
  });
}

/**
 * Every live record.
 * @param {import("ioredis").Redis} redis
 * @returns {Promise<import("./model.mjs").Stored[]>}
 */
export async function readStore(redis) {
  /** @type {import("./model.mjs").Stored[]} */
  const stored = [];
  for await (const keys of redis.scanStream({ count: 500 })) {
    for (const key of new Set(/** @type {string[]} */ (keys))) {
      const [text, ttlMs] = await Promise.all([redis.get(key), redis.pttl(key)]);
      if (text === null) continue;
      const isLive = text[2] === "L";
      const data = isLive ? JSON.parse(text.slice(text.indexOf("\n") + 1)) : {};
      const names = Object.keys(data).filter((name) => name.startsWith("k"));
      stored.push({ key, ttlMs, life: data.life ?? null, keys: names });
    }
  }
  return stored;
}
