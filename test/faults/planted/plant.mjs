// @ts-check
/**
 * Plants each bug of `bugs.mjs` in a copy of the project and runs the tests that must notice. Called by the gates
 * (`npm run gates`) and by a test; by hand: `node test/faults/planted/plant.mjs [part of a name]`.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bugs } from "./bugs.mjs";

const root = join(import.meta.dirname, "..", "..", "..");
const copied = [
  "src",
  "adapters",
  "test",
  ".ci",
  "examples",
  "package.json",
  "package-lock.json",
  "tsconfig.json",
  "vitest.config.ts",
];
/** For each file of tests: a bug may make them hang. */
const withinMs = 120_000;

/**
 * @typedef {import("./bugs.mjs").Edit} Edit
 * @typedef {import("./bugs.mjs").Bug} Bug
 * @typedef {{ name: string, result: "killed" | "survived" | "broken", by: string, seconds: number }} Verdict
 *   `by`: the first test that noticed, or why the run says nothing
 */

/**
 * The source with one edit made.
 * @param {string} source
 * @param {Edit} edit
 * @returns {string}
 */
export function edited(source, { file, find, replace }) {
  const [before, after, ...more] = source.split(find);
  if (before === undefined || after === undefined || more.length > 0) {
    const count = after === undefined ? "no longer there" : "there more than once";
    throw new Error(`${file}: ${JSON.stringify(find)} is ${count}; bring test/faults/planted/bugs.mjs up to date`);
  }
  return before + replace + after;
}

/** A copy of the project, to be spoilt. */
export class Copy {
  #folder = mkdtempSync(join(tmpdir(), "holdfast-planted-"));

  constructor() {
    for (const name of copied) cpSync(join(root, name), join(this.#folder, name), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(this.#folder, "node_modules"), "dir");
  }

  /**
   * Runs the tests of a bug with the bug planted; without edits, as the product is.
   * @param {Bug} bug
   * @returns {Promise<Verdict>}
   */
  async try({ name, edits, tests }) {
    const started = performance.now();
    const files = new Set(edits.map(({ file }) => file));
    for (const file of files) {
      const spoilt = edits.filter((edit) => edit.file === file).reduce(edited, readFileSync(join(root, file), "utf8"));
      writeFileSync(join(this.#folder, file), spoilt);
    }
    try {
      const { result, by } = await this.#run(tests);
      return { name, result, by, seconds: (performance.now() - started) / 1000 };
    } finally {
      for (const file of files) cpSync(join(root, file), join(this.#folder, file));
    }
  }

  /** Ends it. */
  remove() {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /**
   * @param {readonly string[]} tests
   * @returns {Promise<Pick<Verdict, "result" | "by">>}
   */
  async #run(tests) {
    const report = join(this.#folder, "report.json");
    rmSync(report, { force: true });
    const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
    const flags = ["run", "--bail", "1", "--reporter", "json", "--outputFile", report];
    const child = spawn(process.execPath, [vitest, ...flags, ...tests], {
      cwd: this.#folder,
      env: { ...process.env, CI: "true" },
      stdio: ["ignore", "ignore", "pipe"],
      timeout: withinMs * tests.length,
      killSignal: "SIGKILL",
    });
    let complaints = "";
    child.stderr.setEncoding("utf8").on("data", (part) => {
      complaints += part;
    });
    const [, signal] = await once(child, "close");
    if (signal !== null) return { result: "killed", by: `not done within ${(withinMs * tests.length) / 1000} s` };
    /** @type {{ success: boolean, testResults: { assertionResults: { status: string, fullName: string }[] }[] }} */
    let told;
    try {
      told = JSON.parse(readFileSync(report, "utf8"));
    } catch {
      return { result: "broken", by: complaints.slice(-500) };
    }
    const all = told.testResults.flatMap(({ assertionResults }) => assertionResults);
    const failed = all.find(({ status }) => status === "failed");
    if (failed !== undefined) return { result: "killed", by: failed.fullName };
    // No test failed and none passed: the bug broke the source, which any change could.
    const ran = all.some(({ status }) => status === "passed");
    if (!ran || !told.success) return { result: "broken", by: complaints.slice(-500) || "no test ran" };
    return { result: "survived", by: "" };
  }
}

/**
 * Tries every bug whose name contains `part`, after the tests have been seen to pass without one.
 * @param {string} [part]
 * @param {(verdict: Verdict) => void} [tell] called as they come
 * @returns {Promise<Verdict[]>}
 */
export async function plantAll(part = "", tell = () => {}) {
  const chosen = bugs.filter(({ name }) => name.includes(part));
  const copy = new Copy();
  try {
    const tests = [...new Set(chosen.flatMap((bug) => bug.tests))];
    const sound = await copy.try({ name: "none", edits: [], tests });
    if (sound.result !== "survived") throw new Error(`without a bug: ${sound.by}`);
    /** @type {Verdict[]} */
    const verdicts = [];
    for (const bug of chosen) {
      const verdict = await copy.try(bug);
      tell(verdict);
      verdicts.push(verdict);
    }
    return verdicts;
  } finally {
    copy.remove();
  }
}

if (process.argv[1] === import.meta.filename) {
  const verdicts = await plantAll(process.argv[2], ({ name, result, by, seconds }) => {
    console.log(`${result.padEnd(8)} ${seconds.toFixed(1).padStart(5)} s  ${name}\n${" ".repeat(18)}${by}`);
  });
  const killed = verdicts.filter(({ result }) => result === "killed").length;
  console.log(`${killed} of ${verdicts.length} killed`);
  if (killed < verdicts.length) process.exitCode = 1;
}
