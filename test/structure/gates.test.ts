/** `npm run gates` is the whole test plan, and no test has whole counts that nothing ever asks for. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { gates } from "../faults/gate-list.mjs";

const inGates = new Set(gates.flatMap(({ tests }) => tests));

test("there is a gate for each suite of the plan, T1 to T20, and its files are there", () => {
  expect(gates.map(({ name }) => name).slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, index) => `T${index + 1}`));
  expect([...inGates].filter((path) => !existsSync(path))).toEqual([]);
});

test("every test with whole counts belongs to a gate", () => {
  const files = readdirSync("test", { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".test.ts"))
    .map((path) => join("test", path));
  expect(files.length).toBeGreaterThan(100);
  const withCounts = files.filter((path) =>
    /\btimes\(|env\["HOLDFAST_FULL"\]|import .*\bisFull\b/.test(readFileSync(path, "utf8")),
  );
  expect(withCounts.length).toBeGreaterThan(15);
  expect(withCounts.filter((path) => !inGates.has(path))).toEqual([]);
});
