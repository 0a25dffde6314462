/**
 * Masters that are killed, hang or are cut off under load, with Sentinels and as a Cluster: the short form of
 * `npm run failover`. The apps run from `dist/`, each in a process of its own.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { expectDone, expectNotHeldUp, expectTook } from "../support/in-time.ts";
import { type Figures, failover, medianOf } from "./failover-run.mjs";

beforeAll(() => ensureBuilt());

const storeTimeoutMs = 1_000;
/** On top of it: 100 ms for the answer, and what a machine with two cores and a dozen processes makes of them. */
const graceMs = 100 + 400;
/** What Redis takes on a machine that has time for it; what it takes longer here, the writers may twice. */
const replacedInMs = 2_100;

function judge(figures: Figures, downAfterMs: number): void {
  const { seed } = figures;
  console.log(JSON.stringify({ ...figures, violations: figures.violations.length }));
  expectNotHeldUp(downAfterMs);
  // Acknowledged writes lost, sessions back, another's session seen, a user logged out: each is a violation.
  expect(figures.violations.slice(0, 10), `seed ${seed}`).toEqual([]);
  expectDone(figures.acknowledged, 100, "writes");
  expectTook(figures.longestWaitMs, storeTimeoutMs + graceMs + figures.lateMs, `the longest wait, seed ${seed}`);
  const unexplained = Object.keys(figures.statuses).filter((status) => !["200", "401", "503"].includes(status));
  expect(unexplained, `seed ${seed}`).toEqual([]);
  for (const { fault, hitMs, redisMs } of figures.outages) {
    expect(hitMs.length).toBeGreaterThan(0);
    expectTook(Math.max(...hitMs), downAfterMs + 5_000, `an outage, seed ${seed}`);
    if (fault !== "kill") continue;
    const busyMs = Math.max(0, redisMs - replacedInMs);
    expectTook(medianOf(hitMs), 2_500 + 2 * busyMs, `the writers of a killed master, seed ${seed}`);
  }
}

describe("with writers and random clients on Express, Koa and Fastify, nothing acknowledged is lost and nobody logged out", () => {
  it("where Sentinels replace a master that is killed, one that is cut off, and one that hangs and wakes", async () => {
    const faults = ["kill", "cut", "hang"] as const;
    judge(await failover({ kind: "sentinel", faults, seed: Date.now() % 1_000_000 }), 500);
  });

  it("where a Cluster replaces a master that is killed, one that is cut off, and one that hangs and wakes", async () => {
    const faults = ["kill", "cut", "hang"] as const;
    judge(await failover({ kind: "cluster", faults, seed: Date.now() % 1_000_000 }), 1_000);
  });
});
