// @ts-check
/**
 * How the app processes of a soak fare: their memory over time, their sockets and timers before the load and after it,
 * and whether they end by themselves once server and sessions are closed. Called by `run.mjs`; it judges what it is
 * given enough time to see.
 */
import { request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";

/**
 * @typedef {import("./fleet.mjs").Fleet["apps"][number]} App
 * @typedef {{ rss: number, sockets: number, timers: number }} Vitals as an app tells them; `rss` in bytes
 * @typedef {{ perTenMinutes: number, error: number, minutes: number }} Growth of memory after the warm-up, in MB, and
 *   its standard error
 *
 * @typedef {object} VitalFigures
 * @property {string} framework
 * @property {Vitals} before the load
 * @property {Vitals} after it, when connections had time to end
 * @property {Growth | undefined} growth
 * @property {number | undefined} endedInMs how long it took to end by itself, once all was closed
 */

const everyMs = 1_000;
/** Memory goes up and down with the collector; what stays is the least of such a window. */
const windowMs = 30_000;
const warmUpMs = 120_000;
/** How long memory is looked at, at the least, before it is judged. */
const leastMinutes = 5;
/** MB in ten minutes, and with the certainty of two standard errors. */
const mostGrowth = 1;
/** Connections that nobody uses any more end in that time: Node keeps them for five seconds. */
const calmDownMs = 30_000;

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
 * @param {{ at: number, rss: number }[]} samples `at`: ms since the start
 * @returns {Growth | undefined} undefined: too few windows for an error
 */
export function growthOf(samples) {
  /** @type {Map<number, number>} */
  const least = new Map();
  for (const { at, rss } of samples) {
    if (at < warmUpMs) continue;
    const window = Math.floor(at / windowMs);
    least.set(window, Math.min(rss, least.get(window) ?? Number.POSITIVE_INFINITY));
  }
  const points = [...least].map(([window, rss]) => ({ x: (window * windowMs) / 600_000, y: rss / 2 ** 20 }));
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
export function judgeVitals({ framework, before, after, growth, endedInMs }) {
  /** @type {import("./model.mjs").Violation[]} */
  const violations = [];
  for (const what of /** @type {const} */ (["sockets", "timers"])) {
    if (after[what] <= before[what]) continue;
    violations.push({ kind: "left", detail: `${framework}: ${after[what]} ${what}, ${before[what]} before the load` });
  }
  if (growth !== undefined && growth.minutes >= leastMinutes) {
    const { perTenMinutes, error } = growth;
    const told = `${framework}: memory grows by ${perTenMinutes.toFixed(1)} ± ${error.toFixed(1)} MB in ten minutes`;
    if (perTenMinutes - 2 * error > mostGrowth) violations.push({ kind: "growth", detail: told });
  }
  if (endedInMs === undefined)
    violations.push({ kind: "exit", detail: `${framework} did not end when all was closed` });
  return violations;
}

/**
 * Begins to watch; nothing may be under way.
 * @param {readonly App[]} apps
 */
export async function watch(apps) {
  const started = performance.now();
  const watched = await Promise.all(
    apps.map(async (app) => ({
      app,
      before: await ask(app),
      samples: /** @type {{ at: number, rss: number }[]} */ ([]),
    })),
  );
  const timer = setInterval(async () => {
    for (const { app, samples } of watched) {
      const vitals = await ask(app).catch(() => undefined);
      if (vitals !== undefined) samples.push({ at: performance.now() - started, rss: vitals.rss });
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
          return { framework, before, after, growth: growthOf(samples), endedInMs: await app.end() };
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
