// @ts-check
/**
 * The gates: the suites of the test plan with their whole counts, one after the other, and a table of what was really
 * done. The code is that of `npm test`, with `HOLDFAST_FULL` set. Ends with 1 where a gate did not hold.
 *
 * $ npm run gates                       # all of them: about an hour on two free cores
 * $ npm run gates -- T12 T13            # some
 * $ npm run gates -- --seed 7 T15       # as they were once
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { plantAll } from "./planted/plant.mjs";

const root = join(import.meta.dirname, "..", "..");

/**
 * @typedef {{ name: string, what: string, tests: readonly string[], pattern?: string }} Gate
 *   `tests`: files from the root; `pattern`: part of the names of the tests in them that count
 * @typedef {{ isHeld: boolean, figures: readonly string[], seconds: number, failed: readonly string[] }} Result
 */

/** @type {readonly Gate[]} */
const gates = [
  { name: "T1", what: "lost update", tests: ["test/races/parallel-writes.test.ts", "test/races/conflicts.test.ts"] },
  { name: "T2", what: "logout, revocation, expiry", tests: ["test/races/endings.test.ts"] },
  { name: "T3", what: "a new id", tests: ["test/races/rotation.test.ts"] },
  { name: "T4", what: "redirects", tests: ["test/races/redirects.test.ts"] },
  {
    name: "T5",
    what: "outages",
    tests: [
      "test/faults/outage.test.ts",
      "test/faults/outage-load.test.ts",
      "test/faults/outage-refusals.test.ts",
      "test/faults/outage-apart.test.ts",
    ],
  },
  {
    name: "T9",
    what: "lost answers",
    tests: ["test/faults/lost-answers.test.ts", "test/faults/lost-answers-many.test.ts"],
  },
  { name: "T10", what: "another's data", tests: ["test/races/crossing.test.ts"] },
  { name: "T11", what: "ids", tests: ["test/unit/id.test.ts"] },
  { name: "T12", what: "cookies", tests: ["test/unit/fuzz-cookie.test.ts", "test/unit/cookie.test.ts"] },
  { name: "T13", what: "garbage", tests: ["test/faults/garbage.test.ts"] },
  { name: "T14", what: "values", tests: ["test/unit/codec.test.ts", "test/unit/values.test.ts"] },
  { name: "T15", what: "against a model", tests: ["test/races/model.test.ts"] },
  {
    name: "T16",
    what: "how responses end",
    tests: [
      "test/faults/response-matrix.test.ts",
      "test/faults/response-matrix-by-hand.test.ts",
      "test/faults/response-matrix-http2.test.ts",
      "test/faults/response-matrix-streams.test.ts",
    ],
  },
  { name: "T17", what: "floods", tests: ["test/security/flood.test.ts"] },
  { name: "T18", what: "expiry", tests: ["test/races/expiry.test.ts", "test/unit/lifetimes.test.ts"] },
  { name: "T19", what: "planted bugs", tests: ["test/faults/checker.test.ts"], pattern: "the checker catches" },
  { name: "principals", what: "logins, revocations and limits", tests: ["test/races/principals.test.ts"] },
  { name: "index", what: "the index after a soak", tests: ["test/faults/index-soak.test.ts"] },
];

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
  options: { seed: { type: "string", default: String(Date.now() % 1_000_000) } },
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
    const own = await run(gate, values.seed, folder);
    const { isHeld, figures, seconds, failed } = gate.name === "T19" ? joined([own, await plantBugs()]) : own;
    if (!isHeld) process.exitCode = 1;
    const result = isHeld ? "held" : `NOT HELD${failed.map((name) => `<br>${name}`).join("")}`;
    table.push(`| ${gate.name} | ${gate.what} | ${figures.join("; ")} | ${result} | ${Math.round(seconds)} |`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`\nseed ${values.seed}\n${table.join("\n")}`);
