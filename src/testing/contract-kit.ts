/**
 * What the cases of the store contract share: a fresh store and clock for each, records to write, and results in the
 * form that a case expects. `store-contract.ts` runs them. No case stands here.
 */
import assert from "node:assert/strict";
import type { LiveRecord, MovedRecord, NewRecord, Store, StoreCall, StoreRecord, WriteResult } from "../store.ts";
import { type ManualClock, manualClock } from "./manual-clock.ts";

/** Makes an empty store on the clock given, and says how to end it. */
export type MakeStore = (clock: ManualClock) => Promise<{ store: Store; end(): Promise<void> }>;

/** One sentence about stores, and the check of it: `run` rejects (an `AssertionError`) when it does not hold. */
export interface ContractCase {
  name: string;
  run(): Promise<void>;
}

/** What a case works with. */
export interface Stage {
  store: Store;
  clock: ManualClock;
  /** A key that looks as the engine's do: 43 base64url characters. */
  key: string;
}

/** A case before it has a store. */
export type Check = readonly [name: string, check: (stage: Stage) => Promise<void>];

/** An hour: the idle time of the records that cases write. */
export const hour: number = 3_600_000;

const exampleKey = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";

/** Runs a case of a capability on a store of its own, where the store has that capability. */
export async function runCapabilityCase<K extends string, C>(
  make: MakeStore,
  capability: K,
  check: (stage: Stage, capability: C) => Promise<void>,
): Promise<void> {
  await runCase(make, async (stage) => {
    // A store without it passes: there is nothing to keep.
    const found = (stage.store as Store & Partial<Record<K, C>>)[capability];
    if (found !== undefined) await check(stage, found);
  });
}

/** Runs a case on a store of its own, and ends that store. */
export async function runCase(make: MakeStore, check: Check[1]): Promise<void> {
  const clock = manualClock();
  const { store, end } = await make(clock);
  try {
    await check({ store, clock, key: exampleKey });
  } finally {
    await end();
  }
}

/** A call with time enough. */
export function inTime(durable = false): StoreCall {
  return { deadline: performance.now() + 10_000, durable };
}

/** A call whose caller has given up. */
export function tooLate(): StoreCall {
  return { deadline: performance.now() - 1, durable: false };
}

/** A live record that begins now, with an hour of idle time, a day in all, and the text for its payload. */
export function live(clock: ManualClock, text = "{}", change: Partial<NewRecord> = {}): NewRecord {
  const now = clock.now();
  const stamps = { createdAt: now, touchedAt: now, expiresAt: now + hour, absoluteExpiresAt: now + 24 * hour };
  return { kind: "live", ...stamps, payload: Buffer.from(text), ...change };
}

/** Creates a record; the case fails where the store refuses. Resolves to its version. */
export async function create(
  stage: Stage,
  record: NewRecord = live(stage.clock),
  key: string = stage.key,
): Promise<string> {
  return accepted(await stage.store.write(key, record, "absent", inTime()));
}

/** The version of a write that must have been accepted. */
export function accepted(result: WriteResult): string {
  assert.ok(result.ok, "the store must accept this write");
  assert.equal(typeof result.version, "string", "an accepted write has a version");
  return result.version;
}

/** What beat a write that must have been refused. */
export function refused(result: WriteResult): StoreRecord | undefined {
  assert.ok(!result.ok, "the store must refuse this write");
  return result.current;
}

/** The record under the key, which must be live or moved. */
export async function kept(stage: Stage, key: string = stage.key): Promise<LiveRecord | MovedRecord> {
  const record = await stage.store.read(key, inTime());
  assert.ok(record?.kind === "live" || record?.kind === "moved", `a record must stand there, not ${record?.kind}`);
  return record;
}

/** A payload as text. */
export function textOf(record: StoreRecord | undefined): string | undefined {
  return record !== undefined && "payload" in record ? Buffer.from(record.payload).toString("utf8") : undefined;
}

/** Whether a result says that the session is over: a miss where the backend removed it, or ended by its deadline. */
export function assertExpired(record: StoreRecord | undefined): void {
  if (record === undefined) return;
  assert.equal(record.kind, "ended", "a record past its deadline is never live");
  assert.equal(record.kind === "ended" && record.reason, "expired");
}
