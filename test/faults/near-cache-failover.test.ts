/**
 * Near caches in a failover by SENTINEL FAILOVER: the old master never stops, and works for a second beside its
 * successor. Its tracked connections know nothing of that: they would take writes that are lost, and report nothing of
 * what the successor takes.
 */
import { afterEach, beforeEach, expect, test } from "vitest";
import type { NewRecord, Store } from "../../src/store.ts";
import { nearCache } from "../../src/stores/near-cache.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { textOf } from "../../src/testing/contract-kit.ts";
import { waitFor } from "../support/redis-processes.mjs";
import { startSentinels } from "../support/redis-sentinels.mjs";

let fleet: Awaited<ReturnType<typeof startSentinels>>;

beforeEach(async () => {
  fleet = await startSentinels();
});

afterEach(() => fleet.stop());

function record(store: Store, count: number): NewRecord {
  const now = store.now();
  const payload = Buffer.from(String(count));
  return { kind: "live", createdAt: now, touchedAt: now, expiresAt: now + 3_600_000, absoluteExpiresAt: null, payload };
}

interface Writer {
  acknowledged: number;
  lost: number;
}

/** Writes a rising count; a refusal that shows a smaller one than was acknowledged is a loss. */
async function write(store: Store, key: string, writer: Writer, signal: AbortSignal): Promise<void> {
  let version = "absent";
  for (let count = 1; !signal.aborted; ) {
    const call = { deadline: performance.now() + 200 + 20 * (count % 11), durable: false };
    const result = await store.write(key, record(store, count), version, call).catch(() => undefined);
    if (result?.ok === true) {
      version = result.version;
      writer.acknowledged = count;
      count += 1;
    } else if (result?.ok === false) {
      const stands = Number(textOf(result.current) ?? 0);
      writer.lost += Math.max(0, writer.acknowledged - stands);
      writer.acknowledged = stands;
      count = stands + 1;
      version = result.current?.kind === "live" ? result.current.version : "absent";
    }
    await new Promise((resolve) => setTimeout(resolve, 4));
  }
}

/** More than Redis's message about a write takes here. */
const wayMs = 250;

interface Reader {
  fromMemory: number;
  /** How often it got less than had been acknowledged `wayMs` before it asked. */
  older: number;
}

/** Reads what `write` counts up. */
async function follow(store: Store, key: string, writer: Writer, reader: Reader, signal: AbortSignal): Promise<void> {
  const known: { count: number; at: number }[] = [];
  while (!signal.aborted) {
    const at = performance.now();
    if (known.at(-1)?.count !== writer.acknowledged) known.push({ count: writer.acknowledged, at });
    while ((known[1]?.at ?? at) < at - wayMs) known.shift();
    const [least] = known;
    if (store.peek?.(key) !== undefined) reader.fromMemory += 1;
    const record = await store.read(key, { deadline: at + 150, durable: false }).catch(() => undefined);
    const isKnown = record !== undefined && least !== undefined && least.at < at - wayMs;
    if (isKnown && Number(textOf(record)) < least.count) reader.older += 1;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** What was lost of each store's writes, and what a near cache read of the first one's. */
async function during(
  failOver: () => Promise<void>,
  stores: readonly Store[],
): Promise<{ losses: number[]; reader: Reader }> {
  const stop = new AbortController();
  const round = Math.random().toString(36).slice(2);
  const writers = stores.map((store, index) => {
    const counts = { acknowledged: 0, lost: 0 };
    const key = `${round}${index}`.padStart(43, "0");
    return { counts, key, work: write(store, key, counts, stop.signal) };
  });
  const [first] = writers;
  if (first === undefined) throw new Error("no writer");
  const near = nearCache(redisStore(fleet.url));
  const reader = { fromMemory: 0, older: 0 };
  const reading = follow(near, first.key, first.counts, reader, stop.signal);
  const [before] = await fleet.masters();
  if (before === undefined) throw new Error("no master");
  await waitFor(async () => Number(await before.command("DBSIZE")) >= stores.length, "the first writes");
  await waitFor(async () => reader.fromMemory > 0, "the near cache to serve");
  await failOver();
  await fleet.failedOver(before);
  // Each writes to the new master before it is over.
  const [after] = await fleet.masters();
  const writes = async (): Promise<number> => {
    const stats = String(await after?.command("INFO", "commandstats"));
    return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  };
  const seen = await writes();
  await waitFor(async () => (await writes()) > seen + 50 * stores.length, "writes to the new master");
  stop.abort();
  await Promise.all(writers.map(({ work }) => work));
  await reading;
  await near.close?.();
  return { losses: writers.map(({ counts }) => counts.lost), reader };
}

test("a master that Sentinels replace while it works takes no write of a near cache, and tracks nothing for it any more", async () => {
  const cached = nearCache(redisStore(fleet.url));
  const stores = [redisStore(fleet.url), cached, cached, cached, cached];
  const { losses, reader } = await during(async () => {
    const [sentinel] = fleet.sentinels;
    expect(await sentinel?.command("SENTINEL", "FAILOVER", "mymaster")).toBe("OK");
  }, stores);
  expect(losses).toEqual(stores.map(() => 0));
  expect(reader.older).toBe(0);
  for (const store of new Set(stores)) await store.close?.();
});
