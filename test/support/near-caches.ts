/** What tests of the near cache share: records to keep, and waiting until a cache serves. No test logic. */
import type { LiveRecord, Store, StoreCall } from "../../src/store.ts";
import { until } from "./redis-server.ts";

const hour = 3_600_000;

/** A call with time enough. */
export const call = (): StoreCall => ({ deadline: performance.now() + 10_000, durable: false });

/** A live record that begins now, without its version. */
export function liveRecord(store: Store, text = "{}", change: Partial<LiveRecord> = {}): Omit<LiveRecord, "version"> {
  const now = store.now();
  const stamps = { createdAt: now, touchedAt: now, expiresAt: now + hour, absoluteExpiresAt: now + 24 * hour };
  return { kind: "live", ...stamps, payload: Buffer.from(text), ...change };
}

/** Puts a record under `key` and waits until the cache answers for it by itself. */
export async function untilServing(store: Store, key: string): Promise<void> {
  const record = await store.read(key, call());
  if (record === undefined) await store.write(key, liveRecord(store), "absent", call());
  await until(async () => {
    await store.read(key, call());
    return store.peek?.(key) !== undefined;
  }, "the near cache to serve");
}
