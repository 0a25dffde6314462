// @ts-check
/**
 * The gates: the suites of the test plan (`gate-list.mjs`) with their whole counts, one after the other, and a table of
 * what was really done. The code is that of `npm test`, with `HOLDFAST_FULL` set; chaos and the soak are their own
 * programs. Ends with 1 where a gate did not hold.
 *
 * $ npm run gates                       # all of them: about two hours on two free cores
 * $ npm run gates -- T12 T13            # some
 * $ npm run gates -- --seed 7 T15       # as they were once
 * $ npm run gates -- --chaos 600 --soak 3600 T6 T7 T20    # their runs that long, in seconds
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gates } from "./gate-list.mjs";
import { plantAll } from "./planted/plant.mjs";

const root = join(import.meta.dirname, "..", "..");

/**
 * @typedef {import("./gate-list.mjs").Gate} Gate
 * @typedef {import("./gate-list.mjs").LongRun} LongRun
 * @typedef {{ isHeld: boolean, figures: readonly string[], seconds: number, failed: readonly string[] }} Result
 */

/**
 * Runs a gate's tests in a process of their own.
 * @param {Gate} gate
 * @param {string} seed
 * @param {string} folder for what they tell
 * @returns {Promise<Result>}
 */
async function run({ name, tests, pattern }, seed, folder) {
  const started = performance.now();
  const figures = join(folder, `${name}.figures`);
  const report = join(folder, `${name}.json`);
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const filter = pattern === undefined ? [] : ["--testNamePattern", pattern];
  const child = spawn(
    process.execPath,
    [vitest, "run", "--reporter", "default", "--reporter", "json", "--outputFile", report, ...filter, ...tests],
    {
      cwd: root,
      env: { ...process.env, HOLDFAST_FULL: "1", HOLDFAST_SEED: seed, HOLDFAST_FIGURES: figures },
      stdio: "inherit",
    },
  );
  const [code] = await once(child, "close");
  /** @type {Map<string, number>} */
  const sums = new Map();
  for (const line of existsSync(figures) ? readFileSync(figures, "utf8").trim().split("\n") : []) {
    const { key, count } = JSON.parse(line);
    sums.set(key, (sums.get(key) ?? 0) + count);
  }
  /** @type {{ testResults: { assertionResults: { status: string, fullName: string }[] }[] }} */
  const told = existsSync(report) ? JSON.parse(readFileSync(report, "utf8")) : { testResults: [] };
  const all = told.testResults.flatMap(({ assertionResults }) => assertionResults);
  const passed = all.filter(({ status }) => status === "passed").length;
  const failed = all.filter(({ status }) => status === "failed").map(({ fullName }) => fullName);
  const own = [...sums].filter(([key]) => key.startsWith(`${name} `));
  return {
    isHeld: code === 0 && passed > 0,
    figures: [
      ...own.map(([key, count]) => `${count.toLocaleString("en")} ${key.slice(name.length + 1)}`),
      `${passed} tests`,
    ],
    seconds: (performance.now() - started) / 1000,
    failed,
  };
}

/**
 * What a long run's report comes to, in the table.
 * @param {string} what it ran on
 * @param {import("./chaos/run.mjs").ChaosReport | import("./checker/run.mjs").Figures} report
 */
function told(what, report) {
  const { seed, operations, violations, longestWaitMs } = report;
  const faults =
    "outages" in report ? Object.values(report.outages).map((each) => each.faults) : Object.values(report.faults);
  const counts = [operations, faults.reduce((sum, count) => sum + count, 0)].map((count) => count.toLocaleString("en"));
  const most = (/** @type {"rss" | "heap"} */ of) => {
    const growths = "vitals" in report ? report.vitals.flatMap(({ [of]: growth = [] }) => growth) : [];
    const slope = Math.max(...growths.map(({ perTenMinutes }) => perTenMinutes));
    return growths.length === 0 ? "" : `, ${of} ${slope.toFixed(2)} MB per 10 minutes at most`;
  };
  const memory = `${most("rss")}${most("heap")}`;
  return `${what}, seed ${seed}: ${counts[0]} operations, ${counts[1]} faults, ${violations.length} promises broken, longest wait ${longestWaitMs} ms${memory}`;
}

/**
 * A gate's long run, once for each of its seeds.
 * @param {LongRun} what
 * @param {number} firstSeed
 * @param {string} seconds of load
 * @returns {Promise<Result>}
 */
async function runLong({ program, args, seeds }, firstSeed, seconds) {
  /** @type {Result[]} */
  const results = [];
  for (let seed = firstSeed; seed < firstSeed + seeds; seed += 1) {
    const started = performance.now();
    const own = [join(import.meta.dirname, program), ...args, "--seed", `${seed}`, "--seconds", seconds, "--json"];
    const child = spawn(process.execPath, own, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
      process.stdout.write(chunk);
    });
    const [code] = await once(child, "close");
    const last = output.trim().split("\n").at(-1) ?? "";
    const report = last.startsWith("{") ? JSON.parse(last) : undefined;
    const name = [program, ...args].join(" ");
    results.push({
      isHeld: code === 0 && report?.violations.length === 0,
      figures: [report === undefined ? `${name}, seed ${seed}: no report` : told(name, report)],
      seconds: (performance.now() - started) / 1000,
      failed: report?.violations.map((/** @type {{ detail: string }} */ { detail }) => detail).slice(0, 5) ?? [],
    });
  }
  return joined(results);
}

/**
 * T19's other half: bugs planted in a copy of the product.
 * @returns {Promise<Result>}
 */
async function plantBugs() {
  const started = performance.now();
  const verdicts = await plantAll("", ({ name, result, by }) => console.log(`${result.padEnd(8)} ${name}: ${by}`));
  const alive = verdicts.filter(({ result }) => result !== "killed").map(({ name, result }) => `${name}: ${result}`);
  return {
    isHeld: verdicts.length > 0 && alive.length === 0,
    figures: [`${verdicts.length - alive.length} of ${verdicts.length} planted bugs killed`],
    seconds: (performance.now() - started) / 1000,
    failed: alive,
  };
}

/**
 * @param {readonly Result[]} results
 * @returns {Result}
 */
function joined(results) {
  return {
    isHeld: results.every(({ isHeld }) => isHeld),
    figures: results.flatMap(({ figures }) => figures),
    seconds: results.reduce((sum, { seconds }) => sum + seconds, 0),
    failed: results.flatMap(({ failed }) => failed),
  };
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    chaos: { type: "string", default: "60" },
    soak: { type: "string", default: "1800" },
  },
});
const unknown = positionals.filter((name) => !gates.some((gate) => gate.name === name));
if (unknown.length > 0) {
  console.error(`no gate is called ${unknown.join(", ")}; there are ${gates.map(({ name }) => name).join(", ")}`);
  process.exit(1);
}
const chosen = gates.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
const folder = mkdtempSync(join(tmpdir(), "holdfast-gates-"));
const table = ["| gate | | done | result | s |", "|---|---|---|---|---|"];
try {
  for (const gate of chosen) {
    console.log(`\n== ${gate.name}, ${gate.what} (seed ${values.seed})`);
    const results = gate.tests.length === 0 ? [] : [await run(gate, values.seed, folder)];
    if (gate.name === "T19") results.push(await plantBugs());
    for (const long of gate.runs ?? []) {
      const forSeconds = long.program === "soak.mjs" ? values.soak : values.chaos;
      results.push(await runLong(long, Number(values.seed), forSeconds));
    }
    const { isHeld, figures, seconds, failed } = joined(results);
    if (!isHeld) process.exitCode = 1;
    const result = isHeld ? "held" : `NOT HELD${failed.map((name) => `<br>${name}`).join("")}`;
    table.push(`| ${gate.name} | ${gate.what} | ${figures.join("; ")} | ${result} | ${Math.round(seconds)} |`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`\nseed ${values.seed}\n${table.join("\n")}`);
