/**
 * Runs the bench in its quick form, on the built package: the table is complete, and holdfast sends Redis the commands
 * it was designed to send. Speed is not judged here.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import type { Row } from "../bench/report.mjs";

const routes = ["none", "untouched", "read", "write", "login"];
const contestants: [string, string[]][] = [
  ["express", ["bare", "peer", "peer-tuned", "holdfast"]],
  ["koa", ["bare", "peer", "holdfast"]],
  ["fastify", ["bare", "peer", "peer-tuned", "holdfast"]],
];

describe("npm run bench", () => {
  let dir: string;
  let output: string;
  let rows: Row[];

  beforeAll(async () => {
    ensureBuilt();
    dir = await mkdtemp(join(tmpdir(), "holdfast-bench-"));
    const json = join(dir, "bench.json");
    const script = fileURLToPath(new URL("./run.mjs", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [script, "--quick", "--json", json]);
    output = stdout;
    rows = JSON.parse(await readFile(json, "utf8")).rows;
  }, 180_000);

  afterAll(() => rm(dir, { recursive: true, force: true }));

  it("has a cell for each framework, route and variant, none of them empty", () => {
    const expected = contestants.flatMap(([framework, variants]) =>
      routes.flatMap((route) => variants.map((variant) => `${framework} ${route} ${variant}`)),
    );
    expect(rows.map((row) => `${row.framework} ${row.route} ${row.variant}`)).toEqual(expected);
    for (const row of rows) {
      expect(row.requestsPerSecond, JSON.stringify(row)).toBeGreaterThan(0);
      expect(row.cpuUs, JSON.stringify(row)).toBeGreaterThan(0);
      expect(row.p99Ms, JSON.stringify(row)).toBeGreaterThan(0);
    }
  });

  it("prints the machine and one line a cell", () => {
    expect(output).toMatch(/^\d+ cores .*Node \d+\.\d+\.\d+, Redis \d+/);
    expect(output.split("\n").filter((line) => line.startsWith("| "))).toHaveLength(rows.length + 2);
  });

  it.each([
    ["none", {}],
    ["untouched", { get: 1 }],
    ["read", { get: 1 }],
    ["write", { get: 1, evalsha: 1 }],
    ["login", { get: 1, evalsha: 2 }],
  ])("sees holdfast send Redis, for the route %s, %j a request", (route, designed) => {
    const ours = rows.filter((row) => row.variant === "holdfast" && row.route === route);
    expect(ours).toHaveLength(contestants.length);
    for (const { framework, commandsByName } of ours) {
      expect(Object.keys(commandsByName).sort(), framework).toEqual(Object.keys(designed).sort());
      for (const [name, calls] of Object.entries(designed)) {
        // A starved machine may make a client repeat a command that timed out.
        expect(commandsByName[name], `${framework} ${name}`).toBeCloseTo(calls, 1);
      }
    }
  });
});
