// @ts-check
/**
 * `npm run checklist`: makes `.github/security-checklist.md` from the tests that prove each row of
 * `test/security/checklist.json`, and fails where a row has none that passes. A test proves a row when its name has one
 * of the row's tags in brackets, or when the row names it; `%s` in such a name stands for anything.
 */

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { root } from "./dependencies.mjs";
import { prepare } from "./prepare.mjs";
import { servers } from "./servers.mjs";

/**
 * @typedef {{ refs: string; rule: string; peers?: string[]; tags?: string[]; tests?: { file: string; name: string }[] }} Row
 * @typedef {{ rules: Row[]; advisories: Row[] }} Checklist
 * @typedef {{ file: string; name: string; passed: boolean }} Result a test's outcome; `name`: suites and title
 * @typedef {{ row: Row; proofs: Result[]; problems: string[] }} Verdict
 */

const page = join(root, ".github", "security-checklist.md");

/** @returns {Checklist} */
export function readChecklist() {
  return JSON.parse(readFileSync(join(root, "test", "security", "checklist.json"), "utf8"));
}

/**
 * Which tests prove each row, and what is wrong with it.
 * @param {Row[]} rows
 * @param {Result[]} results
 * @returns {Verdict[]}
 */
export function verdicts(rows, results) {
  return rows.map((row) => {
    const tagged = (row.tags ?? []).map((tag) => ({
      what: `a test tagged [${tag}]`,
      found: results.filter(({ name }) => name.includes(`[${tag}]`) || name.includes(`(${tag})`)),
    }));
    const named = (row.tests ?? []).map(({ file, name }) => ({
      what: `"${name}" in ${file}`,
      found: results.filter((result) => result.file === file && fits(result.name, name)),
    }));
    const wanted = [...tagged, ...named];
    const problems = wanted.flatMap(({ what, found }) =>
      found.length === 0
        ? [`there is no ${what}`]
        : found.filter(({ passed }) => !passed).map(({ name }) => `failed: ${name}`),
    );
    if (wanted.length === 0) problems.push("no test is named");
    return { row, proofs: [...new Set(wanted.flatMap(({ found }) => found))], problems };
  });
}

/**
 * @param {string} name
 * @param {string} pattern
 */
function fits(name, pattern) {
  const parts = pattern.split("%s").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "s").test(name);
}

/**
 * The page; rows that are not proved have no "y".
 * @param {{ rules: Verdict[]; advisories: Verdict[] }} judged
 */
export function pageOf({ rules, advisories }) {
  const text = (/** @type {Verdict} */ { proofs }) => {
    const names = new Map(proofs.map(({ file, name }) => [`${file} ${plain(name)}`, `[${plain(name)}](../${file})`]));
    const [first = "", ...more] = names.values();
    return more.length === 0 ? first : `${first}, and ${more.length} more`;
  };
  const mark = (/** @type {Verdict} */ { problems }) => (problems.length === 0 ? "**y**" : "**n**");
  const rule = (/** @type {Verdict} */ verdict) => {
    const { refs, rule, peers = [] } = verdict.row;
    return `| ${refs} | ${rule} | ${peers.join(" | ")} | ${mark(verdict)} | ${text(verdict)} |`;
  };
  const advisory = (/** @type {Verdict} */ verdict) =>
    `| ${verdict.row.refs} | ${verdict.row.rule} | ${mark(verdict)} | ${text(verdict)} |`;
  return `# Security checklist

Made by \`npm run checklist\` from the tests that prove each row: it fails where a row has none that passes. Don't edit it.
CS: OWASP Session Management Cheat Sheet; ASVS4 and ASVS5: Application Security Verification Standard 4.0.3 and 5.0. What
the rows mean for an app, and what remains its own job, is in the [guide](guide/security.md).

By default: E express-session 1.19, K koa-session 7 with a store, F @fastify/session 11.1, H holdfast; ~ in part.

| rule | requirement | E | K | F | H | proved by |
|---|---|---|---|---|---|---|
${rules.map(rule).join("\n")}

## Advisories

What others had to mend, and the test that keeps it from happening here.

| advisory | lesson | H | proved by |
|---|---|---|---|
${advisories.map(advisory).join("\n")}
`;
}

/**
 * A test's name as the page shows it: without tags, without a seed, and safe in a table.
 * @param {string} name
 */
function plain(name) {
  return name
    .replace(/\[[^\]]*\] /g, "")
    .replace(/ \(seed \d+\)/g, "")
    .replace(/ > /g, ": ")
    .replace(/[|\\`<[\]]/g, "\\$&");
}

/** Runs the tests of all rows. @param {string[]} files @returns {Result[]} */
function run(files) {
  const output = join(tmpdir(), `holdfast-checklist-${process.pid}.json`);
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const args = [
    vitest,
    "run",
    ...files,
    "--reporter=json",
    "--reporter=./.ci/closing-line.mjs",
    `--outputFile=${output}`,
  ];
  spawnSync(process.execPath, args, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  /** @type {{ testResults: { name: string; assertionResults: { ancestorTitles: string[]; title: string; status: string }[] }[] }} */
  const report = JSON.parse(readFileSync(output, "utf8"));
  return report.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ ancestorTitles, title, status }) => ({
      file: relative(root, name),
      name: [...ancestorTitles, title].join(" > "),
      passed: status === "passed",
    })),
  );
}

function main() {
  prepare(servers);
  const { rules, advisories } = readChecklist();
  const files = new Set(["test/security", "test/unit/principals.test.ts"]);
  for (const { tests = [] } of [...rules, ...advisories]) for (const { file } of tests) files.add(file);
  const results = run([...files]);
  const judged = { rules: verdicts(rules, results), advisories: verdicts(advisories, results) };
  writeFileSync(page, pageOf(judged));
  const failed = [...judged.rules, ...judged.advisories].filter(({ problems }) => problems.length > 0);
  for (const { row, problems } of failed) console.error(`${row.refs}: ${problems.join("; ")}`);
  const total = rules.length + advisories.length;
  console.log(
    `${total - failed.length} of ${total} rows are proved, by ${results.length} tests; see ${relative(root, page)}`,
  );
  if (failed.length > 0) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) main();
