// @ts-check
/**
 * The soak: the checker for as long as asked, with faults, and its figures; memory, sockets and timers of the apps among
 * them. Ends with 1 when a promise was broken, or memory grows by more than 1 MB in ten minutes: the heap is judged from
 * seven minutes on, two of which warm up, the process's whole memory (rss) in half an hour.
 *
 * $ npm run soak -- --seconds 600 --seed 7
 * $ npm run soak -- --seconds 1800 --calm 60000    # a fault a minute
 * $ npm run soak -- --bug leak --seconds 5     # one of checker/bugs.mjs: must be caught
 * $ npm run soak -- --replay history.jsonl     # judges a kept history again
 */
import { spawnSync } from "node:child_process";
import { createReadStream } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    calm: { type: "string", default: "1500" },
    bug: { type: "string" },
    history: { type: "string" },
    replay: { type: "string" },
    json: { type: "boolean", default: false },
  },
});

/** @param {import("./checker/model.mjs").Violation[]} violations */
function printViolations(violations) {
  console.log(`violations ${violations.length}`);
  for (const { kind, detail } of violations.slice(0, 40)) console.log(`  ${kind}: ${detail}`);
  if (violations.length > 0) process.exitCode = 1;
}

/** @param {import("./checker/vitals.mjs").VitalFigures} figures */
function printVitals({ framework, before, after, rss, heap, endedInMs }) {
  const mb = (/** @type {number} */ bytes) => Math.round(bytes / 2 ** 20);
  for (const [what, growth] of Object.entries({ rss, heap })) {
    const slope =
      growth === undefined
        ? "too short to say how it grows"
        : `${growth.perTenMinutes.toFixed(2)} ± ${growth.error.toFixed(2)} MB per 10 minutes over ${growth.minutes}`;
    const name = /** @type {"rss" | "heap"} */ (what);
    console.log(`${framework}: ${what} ${mb(before[name])} to ${mb(after[name])} MB, ${slope}`);
  }
  const end = endedInMs === undefined ? "did not end when closed" : `ended ${endedInMs} ms after it was told to close`;
  console.log(`  sockets ${before.sockets} to ${after.sockets}, timers ${before.timers} to ${after.timers}; ${end}`);
}

/** @param {string} path */
async function replay(path) {
  const { Model } = await import("./checker/model.mjs");
  const model = new Model();
  /** @type {import("./checker/model.mjs").Stored[] | undefined} */
  let stored;
  for await (const line of createInterface({ input: createReadStream(path) })) {
    const entry = JSON.parse(line);
    if (entry.kind !== undefined) model.add(entry);
    if (entry.stored !== undefined) stored = entry.stored;
  }
  printViolations(model.finish(stored));
}

async function soak() {
  const build = join(import.meta.dirname, "..", "..", ".ci", "build.mjs");
  if (spawnSync(process.execPath, [build, "--if-needed"], { stdio: "inherit" }).status !== 0) process.exit(1);
  const { check } = await import("./checker/run.mjs");
  const seed = Number(values.seed);
  const history = values.history ?? join(tmpdir(), `holdfast-history-${seed}.jsonl`);
  console.log(`seed ${seed}, ${values.seconds} s, history in ${history}`);
  const { bug, calm, seconds } = values;
  const options = { seconds: Number(seconds), seed, calmMs: Number(calm), history, watches: true, ...(bug && { bug }) };
  const figures = await check(options);
  console.log(`operations ${figures.operations}, sessions left ${figures.keys}`);
  for (const [kind, outcomes] of Object.entries(figures.byKind)) console.log(`  ${kind} ${JSON.stringify(outcomes)}`);
  console.log(`faults ${JSON.stringify(figures.faults)}`);
  console.log(`longest wait ${figures.longestWaitMs} ms`);
  figures.vitals.forEach(printVitals);
  printViolations(figures.violations);
  if (values.json) console.log(JSON.stringify(figures));
}

await (values.replay === undefined ? soak() : replay(values.replay));
