/**
 * Runs the bench in its quick form, on the built package: the tables are complete, the chart shows the figures of this
 * run, and holdfast sends Redis the commands it was designed to send. Speed is not judged here.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import type { Latency } from "../bench/network.mjs";
import type { Row } from "../bench/report.mjs";

/** One of the five routes: a cell costs a process, and what the others send is seen in the adapter contract. */
const routes = ["write"];
const contestants: [string, string[]][] = [
  ["express", ["bare", "peer", "peer-tuned", "holdfast", "near-cache", "lazy"]],
  ["koa", ["bare", "peer", "holdfast", "near-cache", "lazy"]],
  ["fastify", ["bare", "peer", "peer-tuned", "holdfast", "near-cache", "lazy"]],
];

describe("npm run bench", () => {
  let dir: string;
  let output: string;
  let rows: Row[];
  let latencies: Latency[];
  let chart: string;

  beforeAll(async () => {
    ensureBuilt();
    dir = await mkdtemp(join(tmpdir(), "holdfast-bench-"));
    const json = join(dir, "bench.json");
    const svg = join(dir, "bench.svg");
    const script = fileURLToPath(new URL("./run.mjs", import.meta.url));
    const measure = () =>
      promisify(execFile)(process.execPath, [
        script,
        "--quick",
        "--json",
        json,
        "--chart",
        svg,
        "--latency",
        "koa",
        "--only",
        routes.join(","),
      ]);
    // The bench ends at a 503, which it may get of a machine that stood still: a second one has another reason.
    ({ stdout: output } = await measure().catch((error: Error) => {
      if (/\b503\b|timed out/.test(error.message)) return measure();
      throw error;
    }));
    ({ rows, latencies } = JSON.parse(await readFile(json, "utf8")));
    chart = await readFile(svg, "utf8");
  });

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
    const lines = output.split("\n").filter((line) => line.startsWith("| "));
    expect(lines).toHaveLength(rows.length + 2 + latencies.length + 2);
  });

  it("prints latency with Redis a network away, where each command costs its delay", () => {
    expect(latencies.map(({ route, variant }) => `${route} ${variant}`)).toEqual(
      ["read", "write"].flatMap((route) => ["bare", "peer", "holdfast", "near-cache"].map((one) => `${route} ${one}`)),
    );
    // 1 ms each; a timer may be early by a part of it, and what a busy machine adds is not judged.
    for (const { route, variant, p50Ms } of latencies) {
      const commands = variant === "bare" || (variant === "near-cache" && route === "read") ? 0 : 1;
      expect(p50Ms, `${route} ${variant}`).toBeGreaterThan(commands / 2);
    }
  });

  it("prints what rolling expiry adds, 20 reads in a touchInterval", () => {
    expect(output).toContain("rolling expiry, holdfast: 1.05 (get, 0.05 evalsha)");
    expect(output).toContain("rolling expiry, near-cache: 0.05 (0.05 evalsha)");
  });

  it("draws a bar with its figure for each framework, and for each of the three compared there", () => {
    for (const variant of ["peer", "ours", "near"]) {
      expect(chart.match(new RegExp(`<rect class="${variant}"`, "g"))).toHaveLength(
        1 + contestants.length * routes.length,
      );
    }
    for (const { variant, overheadUs } of rows) {
      if (!["peer", "holdfast", "near-cache"].includes(variant)) continue;
      const us = overheadUs ?? Number.NaN;
      expect(chart).toContain(`>${us.toFixed(us < 10 ? 1 : 0)}</text>`);
    }
  });

  it.each([
    ["holdfast", "write", { get: 1, evalsha: 1 }],
    ["near-cache", "write", { evalsha: 1 }],
    ["lazy", "write", { get: 1, evalsha: 1 }],
  ])("sees the variant %s send Redis, for the route %s, %j a request", (variant, route, designed) => {
    const ours = rows.filter((row) => row.variant === variant && row.route === route);
    expect(ours).toHaveLength(contestants.length);
    for (const { framework, commandsByName } of ours) {
      // So does a cache that lost its connection: what must not be there is any other command.
      const designedNames = Object.keys(designed);
      const names = Object.keys(commandsByName).filter((name) => variant !== "near-cache" || name !== "get");
      expect(names.sort(), framework).toEqual(designedNames.sort());
      for (const [name, calls] of Object.entries(designed)) {
        // A starved machine may make a client repeat a command that timed out.
        expect(commandsByName[name], `${framework} ${name}`).toBeCloseTo(calls, 1);
      }
    }
  });
});
