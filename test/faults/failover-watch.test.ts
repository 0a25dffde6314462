/**
 * The second between a promotion and `+switch-master`, in which the old master still takes writes: by SENTINEL FAILOVER,
 * where it never stops, and where it hangs and wakes in that very second. Nothing that was acknowledged is lost: not by
 * who heard of the failover, not by connections for durable writes, not by a process that starts in the middle of it.
 */
import { afterEach, beforeEach, expect, test } from "vitest";
import type { NewRecord, Store } from "../../src/store.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { openClient } from "../../src/stores/redis-client.ts";
import { textOf } from "../../src/testing/contract-kit.ts";
import { replicationOf } from "../support/redis-nodes.mjs";
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
async function write(store: Store, key: string, signal: AbortSignal): Promise<Writer> {
  const writer = { acknowledged: 0, lost: 0 };
  let version = "absent";
  for (let count = 1; !signal.aborted; ) {
    const call = { deadline: performance.now() + 1_000, durable: false };
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
  return writer;
}

async function lossesDuring(
  stores: readonly Store[],
  failOver: (join: (store: Store) => void) => Promise<void>,
): Promise<number[]> {
  const stop = new AbortController();
  const round = Math.random().toString(36).slice(2);
  const work: Promise<Writer>[] = [];
  const join = (store: Store): void => {
    work.push(write(store, `${round}${work.length}`.padStart(43, "0"), stop.signal));
  };
  for (const store of stores) join(store);
  const [before] = await fleet.masters();
  if (before === undefined) throw new Error("no master");
  await waitFor(async () => Number(await before.command("DBSIZE")) >= stores.length, "the first writes");
  await failOver(join);
  await fleet.failedOver(before);
  // Each writes to the new master before it is over.
  const [after] = await fleet.masters();
  const writes = async (): Promise<number> => {
    const stats = String(await after?.command("INFO", "commandstats"));
    return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  };
  const seen = await writes();
  await waitFor(async () => (await writes()) > seen + 50 * work.length, "writes to the new master");
  stop.abort();
  return (await Promise.all(work)).map(({ lost }) => lost);
}

test("SENTINEL FAILOVER costs no acknowledged write, with a URL and with a client of the user's", async () => {
  const own = redisStore(fleet.url);
  const client = openClient(fleet.url, {});
  const handed = redisStore(client);
  const losses = await lossesDuring([own, handed], async () => {
    const [sentinel] = fleet.sentinels;
    expect(await sentinel?.command("SENTINEL", "FAILOVER", "mymaster")).toBe("OK");
  });
  expect(losses).toEqual([0, 0]);
  for (const store of [own, handed]) await store.close?.();
  client.disconnect();
});

test("a master that hangs, and wakes when its successor was promoted, swallows no write", async () => {
  const durability = { timeout: 300, for: "all" } as const;
  const stores = [redisStore(fleet.url), redisStore(fleet.url), redisStore(fleet.url, { durability })];
  const losses = await lossesDuring(stores, async (join) => {
    const [master] = await fleet.masters();
    const replicas = fleet.nodes.filter((node) => node !== master);
    master?.pause();
    await waitFor(
      async () => (await Promise.all(replicas.map(replicationOf))).some((state) => state.includes("role:master")),
      "the promotion",
    );
    master?.resume();
    for (const options of [{}, { durability }]) {
      const late = redisStore(fleet.url, options);
      stores.push(late);
      join(late);
    }
  });
  expect(losses).toEqual([0, 0, 0, 0, 0]);
  for (const store of stores) await store.close?.();
});
