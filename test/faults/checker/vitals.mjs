// @ts-check
/**
 * How the app processes of a soak fare: their memory over time, their sockets and timers before the load and after it,
 * and whether they end by themselves once server and sessions are closed. Called by `run.mjs`; it judges what it is
 * given enough time to see.
 */
import { Agent, request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { exchange } from "./clients.mjs";

/**
 * @typedef {import("./fleet.mjs").Fleet["apps"][number]} App
 * @typedef {{ rss: number, heap: number, sockets: number, timers: number }} Vitals as an app tells them; `rss` and `heap`
 *   in bytes, after a collection
 * @typedef {{ at: number, rss: number, heap: number }} Sample `at`: ms since the start
 * @typedef {{ perTenMinutes: number, error: number, minutes: number }} Growth of memory after the warm-up, in MB, and
 *   its standard error
 *
 * @typedef {object} VitalFigures
 * @property {string} framework
 * @property {Vitals} before the load
 * @property {Vitals} after it, when connections had time to end
 * @property {Growth | undefined} rss
 * @property {Growth | undefined} heap
 * @property {number | undefined} endedInMs how long it took to end by itself, once all was closed
 */

const everyMs = 5_000;
/**
 * What stays is the least of such a window. The heap is looked at after a collection; how many pages V8 holds beside it
 * goes up and down by 25 MB in minutes, so that the process's memory says something in half an hour only.
 */
const windows = { rss: 300_000, heap: 30_000 };
const warmUpMs = 120_000;
/** How long memory is looked at, at the least, before it is judged. */
const leastMinutes = 5;
/** MB in ten minutes, and with the certainty of two standard errors. */
const mostGrowth = 1;
/** Connections that nobody uses any more end in that time: Node keeps them for five seconds. */
const calmDownMs = 30_000;

/**
 * So many sessions begun, used and ended fill what an engine remembers of cookies and of ends, ten thousand each; its
 * tables were seen to stop growing at twice that. Else the load would fill them for half an hour, and look like growth.
 */
const fillingSessions = 25_000;
const fillers = 16;

/** @param {App} app */
async function fill(app) {
  const agent = new Agent({ keepAlive: true });
  const place = { agent, now: () => performance.now(), record: () => {} };
  const what = { life: "warm", gen: 0 };
  let left = fillingSessions;
  const visitors = Array.from({ length: fillers }, async () => {
    while (left-- > 0) {
      const { cookie } = await exchange(place, { kind: "login", cookie: undefined, ...what }, app);
      for (const kind of ["read", "logout"]) await exchange(place, { kind, cookie, ...what }, app);
    }
  });
  await Promise.all(visitors);
  agent.destroy();
}

/** @param {App} app @returns {Promise<Vitals>} */
function ask({ port }) {
  return new Promise((resolve, reject) => {
    // A connection of its own, which counts on either side of the comparison.
    const asked = request({ agent: false, host: "127.0.0.1", port, path: "/?op=vitals" }, (answer) => {
      let text = "";
      answer.on("data", (chunk) => {
        text += chunk;
      });
      answer.on("end", () => resolve(JSON.parse(text)));
    });
    asked.on("error", reject).end();
  });
}

/**
 * The slope of the least squares through the windows' minima.
 * @param {Sample[]} samples
 * @param {"rss" | "heap"} of
 * @returns {Growth | undefined} undefined: too few windows for an error
 */
function growthOf(samples, of) {
  const windowMs = windows[of];
  /** @type {Map<number, number>} */
  const least = new Map();
  for (const { at, [of]: bytes } of samples) {
    if (at < warmUpMs) continue;
    const window = Math.floor(at / windowMs);
    least.set(window, Math.min(bytes, least.get(window) ?? Number.POSITIVE_INFINITY));
  }
  const points = [...least].map(([window, bytes]) => ({ x: (window * windowMs) / 600_000, y: bytes / 2 ** 20 }));
  if (points.length < 4) return undefined;
  const mean = (/** @type {number[]} */ list) => list.reduce((sum, value) => sum + value, 0) / list.length;
  const [midX, midY] = [mean(points.map(({ x }) => x)), mean(points.map(({ y }) => y))];
  const spread = points.reduce((sum, { x }) => sum + (x - midX) ** 2, 0);
  const perTenMinutes = points.reduce((sum, { x, y }) => sum + (x - midX) * (y - midY), 0) / spread;
  const rest = points.reduce((sum, { x, y }) => sum + (y - midY - perTenMinutes * (x - midX)) ** 2, 0);
  const error = Math.sqrt(rest / (points.length - 2) / spread);
  return { perTenMinutes, error, minutes: (points.length * windowMs) / 60_000 };
}

/**
 * What of it breaks a promise.
 * @param {VitalFigures} figures
 * @returns {import("./model.mjs").Violation[]}
 */
export function judgeVitals({ framework, before, after, rss, heap, endedInMs }) {
  /** @type {import("./model.mjs").Violation[]} */
  const violations = [];
  for (const what of /** @type {const} */ (["sockets", "timers"])) {
    if (after[what] <= before[what]) continue;
    violations.push({ kind: "left", detail: `${framework}: ${after[what]} ${what}, ${before[what]} before the load` });
  }
  for (const [what, growth] of Object.entries({ rss, heap })) {
    if (growth === undefined || growth.minutes < leastMinutes) continue;
    const { perTenMinutes, error } = growth;
    const told = `${framework}: ${what} grows by ${perTenMinutes.toFixed(1)} ± ${error.toFixed(1)} MB in ten minutes`;
    if (perTenMinutes - 2 * error > mostGrowth) violations.push({ kind: "growth", detail: told });
  }
  if (endedInMs === undefined)
    violations.push({ kind: "exit", detail: `${framework} did not end when all was closed` });
  return violations;
}

/**
 * Begins to watch; nothing may be under way.
 * @param {readonly App[]} apps
 * @param {number} seconds of load to come
 */
export async function watch(apps, seconds) {
  const watched = await Promise.all(
    apps.map(async (app) => ({
      app,
      before: await ask(app),
      samples: /** @type {Sample[]} */ ([]),
    })),
  );
  if (seconds * 1000 >= warmUpMs + leastMinutes * 60_000) await Promise.all(apps.map(fill));
  const started = performance.now();
  const timer = setInterval(async () => {
    for (const { app, samples } of watched) {
      const vitals = await ask(app).catch(() => undefined);
      if (vitals !== undefined) samples.push({ ...vitals, at: performance.now() - started });
    }
  }, everyMs);
  return {
    stop: () => clearInterval(timer),
    /**
     * When the load is over and its connections are let go: ends the apps, and says how they fared.
     * @returns {Promise<VitalFigures[]>}
     */
    end() {
      clearInterval(timer);
      return Promise.all(
        watched.map(async ({ app, before, samples }) => {
          const after = await calmedDown(app, before);
          const { framework } = app;
          const growth = { rss: growthOf(samples, "rss"), heap: growthOf(samples, "heap") };
          return { framework, before, after, ...growth, endedInMs: await app.end() };
        }),
      );
    },
  };
}

/**
 * @param {App} app
 * @param {Vitals} before
 */
async function calmedDown(app, before) {
  const end = performance.now() + calmDownMs;
  for (;;) {
    const vitals = await ask(app);
    const isCalm = vitals.sockets <= before.sockets && vitals.timers <= before.timers;
    if (isCalm || performance.now() > end) return vitals;
    await pause(250);
  }
}
