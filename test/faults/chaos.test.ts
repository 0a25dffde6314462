/**
 * Chaos in short, on haproxy, three frameworks and real Redis topologies, and the proof that its report can say no:
 * masters die while their replicas lack what they have. Long runs, and the other faults: `npm run chaos`; masters that
 * die without `durability`: failover-masters.test.ts. The apps run from `dist/`, each in a process of its own.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { expectDone, expectNotHeldUp, failLate } from "../support/in-time.ts";
import { silenceMs } from "./chaos/cluster.mjs";
import type { Fault } from "./chaos/faults.mjs";
import { type ChaosOptions, chaos, Judge } from "./chaos/run.mjs";
import type { Entry } from "./checker/clients.mjs";

beforeAll(() => ensureBuilt());

/** What a run must have felt, or it has shown nothing; and what it must not have broken. */
async function survivesStalls(topology: ChaosOptions["topology"]): Promise<void> {
  const report = await chaos({
    seconds: 9,
    seed: Date.now() % 1_000_000,
    topology,
    kinds: ["stalled replication", "node kill"],
    // Short, so that several are refused before the master dies.
    durability: { replicas: 1, for: "all", timeout: 100 },
    calmMs: 600,
    browsers: 8,
    leniency: 2,
  });
  console.log(JSON.stringify({ ...report, violations: report.violations.length }));
  expectNotHeldUp(silenceMs[topology]);
  const isOfTime = ({ kind }: { kind: string }) => kind === "hang" || kind === "outage";
  const wrong = report.violations.filter((violation) => !isOfTime(violation));
  expect(wrong.slice(0, 10), `seed ${report.seed}`).toEqual([]);
  const late = report.violations.filter(isOfTime).map(({ detail }) => detail);
  if (late.length > 0) failLate(`${late.join("; ")}; seed ${report.seed}`);
  expectDone(report.operations, 100, "the load");
  expectDone(report.lackedBytes[0], 0, "the bytes that no replica had when the master died");
  expectDone(report.errors["503 ERR_SESSION_UNCONFIRMED by a node"], 0, "the writes that no replica confirmed");
  expectDone(report.outages["stalled replication"]?.felt, 0, "what the clients felt of the master's end");
  expectDone(report.outages["node kill"]?.faults, 0, "a node's end");
}

describe.concurrent("clients of three nodes behind haproxy", () => {
  it("lose nothing with durability when nodes are killed, and the master under Sentinel while replication is stalled", async () => {
    await survivesStalls("sentinel");
  });

  it("lose nothing with durability when nodes are killed, and a master of the Cluster while replication is stalled", async () => {
    await survivesStalls("cluster");
  });
});

it("a run without durability is not judged by what stalled replication costs: it does not begin", async () => {
  const options = { seconds: 1, seed: 1, topology: "sentinel", kinds: ["stalled replication"] } as const;
  await expect(chaos(options)).rejects.toThrow("needs durability");
});

/** A judge of a run on Sentinel that has felt one fault, from 1 s on. */
function judgeOf(kind: Fault["kind"], entries: readonly Partial<Entry>[]): Judge {
  const judge = new Judge({ seconds: 20, seed: 1, topology: "sentinel" });
  judge.outages.begin({ kind, target: "r1", at: 1_000, forMs: 12_000 })({});
  for (const entry of entries) {
    const usual = { kind: "update", life: "L1", gen: 0, app: "n1", browser: 0, outcome: "ok", status: 200 } as const;
    judge.add({ ...usual, from: 0, to: 1, ...(entry.outcome !== "unknown" && { seen: "L1" }), ...entry });
  }
  judge.endLoad(20_000);
  return judge;
}

const refused = (from: number, to: number): Partial<Entry> => ({ outcome: "unknown", status: 503, from, to });

/** A writer that gets nothing through from one second on, for that long. */
const outage = (ms: number, browser = 0): Partial<Entry>[] => [
  { browser, ...refused(1_000, 1_400) },
  { browser, ...refused(1_500, 1_900) },
  { browser, from: 990 + ms, to: 1_000 + ms },
];

describe("the report", () => {
  it("measures an outage from the first write that failed to the first that was acknowledged again", () => {
    const report = judgeOf("master kill", [...outage(2_000), ...outage(2_400, 1)]).finish([]);
    expect(report.outages).toEqual({
      "master kill": { faults: 1, felt: 1, writers: 2, medianMs: 2_400, maxMs: 2_400 },
    });
    expect(report.errors).toEqual({ "503 by a node": 4 });
    expect(report.phases["master kill"]).toMatchObject({ operations: 6, ok: 2, unknown: 4, max: 400 });
    expect(report.violations).toEqual([]);
  });

  it("counts from the last acknowledged write where that was later, and nothing twice", () => {
    const entries = [{ from: 1_050, to: 1_100 }, refused(1_000, 1_400), { from: 1_700, to: 1_800 }];
    expect(judgeOf("master kill", entries).finish([]).outages["master kill"]).toMatchObject({ writers: 1, maxMs: 700 });
  });

  it.each([
    ["half of the writers were without for more than 2.5 s", [...outage(2_600), ...outage(2_600, 1)]],
    [
      "one writer was without for more than down-after and 5 s",
      [...outage(100), ...outage(200, 1), ...outage(5_600, 2)],
    ],
    [
      "a writer got nothing through until the end",
      [...outage(100), ...outage(200, 1), { browser: 2, ...refused(1_000, 1_100) }],
    ],
  ])("says no when %s", (_, entries) => {
    const kinds = judgeOf("hung master", entries)
      .finish([])
      .violations.map(({ kind }) => kind);
    expect(new Set(kinds)).toEqual(new Set(["outage"]));
  });

  it("says no when a request hung, a process ended by itself, or a record has no TTL", () => {
    const stored = [{ key: "holdfast:x", ttlMs: -1, life: null, keys: [] }];
    const report = judgeOf("partition", [refused(1_000, 2_700), { from: 2_800, to: 2_900 }]).finish(stored, ["n2"]);
    expect(report.violations.map(({ kind }) => kind).sort()).toEqual(["died", "hang", "no-ttl"]);
  });

  it("takes a logout at its word, but for one that found ended what no replica had confirmed", () => {
    const unconfirmed = { kind: "logout", outcome: "unknown", status: 503, code: "ERR_SESSION_UNCONFIRMED" } as const;
    const again = { kind: "logout", seen: null, from: 2, to: 3 } as const;
    const back = { kind: "read", from: 4, to: 5 } as const;
    expect(judgeOf("stalled replication", [unconfirmed, again, back]).finish([]).violations).toEqual([]);
    const { violations } = judgeOf("master kill", [{ ...again, seen: "L1" }, back]).finish([]);
    expect(violations.map(({ kind }) => kind)).toEqual(["back"]);
  });

  it("leaves what a node's death costs out of what Redis may cost", () => {
    expect(judgeOf("node kill", outage(2_600)).finish([]).violations).toEqual([]);
  });
});
