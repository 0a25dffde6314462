/**
 * The near cache: a store that keeps records in this process and answers reads from there, for as long as Redis itself
 * stands by to say that they changed. Published as `holdfast/near-cache`. Which records are current is known to the
 * tracked store behind it (`tracking.ts`); this file keeps copies, and drops them at the first doubt.
 *
 * What it keeps is never data: a copy that is too old by a moment costs its writer a refusal and a merge, as any
 * request that lost a race. Nothing here retries, waits or talks to Redis.
 */

import { LRUCache } from "lru-cache";
import type {
  EndReason,
  LiveRecord,
  NewRecord,
  Store,
  StoreCall,
  StoreRecord,
  TouchResult,
  WriteResult,
} from "../store.ts";
import { capabilitiesOf } from "./capabilities.ts";
import { FlightBoard } from "./flights.ts";
import { type NearCacheOptions, type ResolvedNearCacheOptions, resolve, wrong } from "./near-cache-options.ts";
import type { Era, TrackableStore, TrackedStore } from "./tracking.ts";
import { within } from "./waits.ts";

export type { NearCacheOptions } from "./near-cache-options.ts";

/** What a copy costs besides its payload: measured, see `.github/guide/near-cache.md`. */
const overheadBytes = 500;
/** How long a read that has a copy to fall back on waits for a Redis whose tracking is down. */
const patienceMs = 100;
/** How long after a failed read nobody who has such a copy waits at all. */
const outageMs = 1_000;

interface Copy {
  readonly record: LiveRecord;
  readonly era: Era;
  /** By the store's clock: its deadline, or `maxAge`, whichever comes first. */
  readonly goodUntil: number;
}

/**
 * Puts a cache of this process before a store.
 *
 * @param store what `redisStore` gives, for ioredis single, Sentinel or Cluster. It is closed with the cache
 * @throws {SessionError} `ERR_SESSION_OPTION` for a wrong option, or a store that can't be tracked
 */
export function nearCache(store: TrackableStore, options: NearCacheOptions = {}): Store {
  if (typeof store !== "object" || store === null || typeof store.track !== "function") {
    throw wrong("store", store, "hand in redisStore(…), which can be tracked");
  }
  return Object.assign(new NearCache(store, resolve(options)), capabilitiesOf(store));
}

class NearCache implements Store {
  readonly #inner: Store;
  readonly #store: TrackedStore;
  readonly #options: ResolvedNearCacheOptions;
  readonly #copies: LRUCache<string, Copy>;
  readonly #flights = new FlightBoard();
  /** Until when a shard that failed is not waited for; `performance.now()`. */
  readonly #outages = new Map<string, number>();
  readonly #shardOf: (key: string) => string;
  readonly shardOf?: (key: string) => string;

  constructor(store: TrackableStore, options: ResolvedNearCacheOptions) {
    const { max, maxSize } = options;
    this.#inner = store;
    this.#options = options;
    this.#copies = new LRUCache({
      max,
      maxSize,
      sizeCalculation: ({ record }) => record.payload.byteLength + overheadBytes,
    });
    this.#store = store.track((key) => this.#forget(key));
    this.#shardOf = (key) => store.shardOf?.(key) ?? "";
    if (store.shardOf !== undefined) this.shardOf = this.#shardOf;
  }

  now(): number {
    return this.#inner.now();
  }

  peek(key: string): LiveRecord | undefined {
    const copy = this.#copies.get(key);
    if (copy === undefined) return undefined;
    if (!this.#isTrusted(key, copy.era)) return this.#isOut(key) ? this.#stale(key) : undefined;
    if (this.#inner.now() < copy.goodUntil) return copy.record;
    this.#copies.delete(key);
    return undefined;
  }

  async read(key: string, call: StoreCall): Promise<StoreRecord | undefined> {
    // A caller who gave up gets what the store has for such: a rejection.
    if (call.fresh === true || performance.now() >= call.deadline) return this.#fetch(key, call);
    const kept = this.peek(key);
    if (kept !== undefined) return kept;
    if (this.#stale(key) === undefined) return this.#fetch(key, call);
    try {
      return await within(this.#fetch(key, call), patienceMs);
    } catch (error) {
      this.#outages.set(this.#shardOf(key), performance.now() + outageMs);
      // Looked up again: it may have been changed or ended by this node meanwhile.
      const stale = this.#stale(key);
      if (stale !== undefined) return stale;
      throw error;
    }
  }

  async write(
    key: string,
    record: NewRecord,
    expected: "absent" | (string & {}),
    call: StoreCall,
  ): Promise<WriteResult> {
    return this.#change(key, async (isCurrent) => {
      let era: Era | undefined;
      const onSent = (sent: Era | undefined): void => {
        era = sent;
      };
      const result = await this.#store.write(key, record, expected, { ...call, onSent });
      if (!result.ok || record.kind !== "live" || !isCurrent()) return { result };
      return { result, copy: this.#copyOf(key, { ...record, version: result.version }, era) };
    });
  }

  async touch(
    key: string,
    stamp: { version: string; touchedAt: number; expiresAt: number },
    call: StoreCall,
  ): Promise<TouchResult> {
    const result = await this.#store.touch(key, stamp, call);
    const copy = this.#copies.peek(key);
    if (result !== "touched") this.#forget(key);
    else if (copy?.record.version === stamp.version && copy.record.touchedAt <= stamp.touchedAt) {
      const { touchedAt, expiresAt } = stamp;
      const record = { ...copy.record, touchedAt, expiresAt };
      this.#copies.set(key, { record, era: copy.era, goodUntil: this.#goodUntil(record) });
    }
    return result;
  }

  async remove(
    key: string,
    end: { reason: EndReason; until: number },
    call: StoreCall,
  ): Promise<StoreRecord | undefined> {
    return this.#change(key, async () => ({ result: await this.#store.remove(key, end, call) }));
  }

  async close(): Promise<void> {
    this.#copies.clear();
    await this.#store.close();
    await this.#inner.close?.();
  }

  /**
   * A change by this node is not reported to it. So there is no copy from before it begins until its end is known, and
   * what was read meanwhile is not kept.
   */
  async #change<T>(
    key: string,
    change: (isCurrent: () => boolean) => Promise<{ result: T; copy?: Copy | undefined }>,
  ): Promise<T> {
    this.#forget(key);
    return this.#flights.run(key, async (flights) => {
      const { changes } = flights;
      let copy: Copy | undefined;
      try {
        const changed = await change(() => flights.changes === changes);
        copy = changed.copy;
        return changed.result;
      } finally {
        this.#forget(key);
        if (copy !== undefined) this.#copies.set(key, copy);
      }
    });
  }

  async #fetch(key: string, call: StoreCall): Promise<StoreRecord | undefined> {
    return this.#flights.run(key, async (flights) => {
      const { changes } = flights;
      let era: Era | undefined;
      const onSent = (sent: Era | undefined): void => {
        era = sent;
      };
      let record: StoreRecord | undefined;
      try {
        record = await this.#store.read(key, { ...call, onSent });
      } catch (error) {
        this.#outages.set(this.#shardOf(key), performance.now() + outageMs);
        throw error;
      }
      this.#outages.delete(this.#shardOf(key));
      if (record?.kind !== "live" || flights.changes !== changes) return record;
      const copy = this.#copyOf(key, record, era);
      if (copy === undefined) return record;
      this.#copies.set(key, copy);
      return copy.record;
    });
  }

  /** What was known about the key is known no more; answers that are under way included. */
  #forget(key: string): void {
    this.#copies.delete(key);
    this.#flights.changed(key);
  }

  /** `era`: the one in which the record left Redis. `undefined`: not tracked, or no more. */
  #copyOf(key: string, record: LiveRecord, era: Era | undefined): Copy | undefined {
    if (era === undefined || !this.#isTrusted(key, era)) return undefined;
    // Bytes of its own: what Redis sent, and what the engine packed, lie in larger buffers that would be kept alive.
    const kept = { ...record, payload: Buffer.from(new Uint8Array(record.payload).buffer) };
    return { record: kept, era, goodUntil: this.#goodUntil(kept) };
  }

  #isTrusted(key: string, era: Era): boolean {
    return performance.now() < era.trustedUntil && this.#store.eraOf(key) === era;
  }

  #goodUntil(record: LiveRecord): number {
    return Math.min(deadlineOf(record), this.#inner.now() + this.#options.maxAge);
  }

  #isOut(key: string): boolean {
    return performance.now() < (this.#outages.get(this.#shardOf(key)) ?? 0);
  }

  /** The copy that may bridge an outage. */
  #stale(key: string): LiveRecord | undefined {
    const { maxStaleOnError } = this.#options;
    const copy = maxStaleOnError === 0 ? undefined : this.#copies.peek(key);
    if (copy === undefined || copy.era.isFlushed) return undefined;
    // Tracking works again: who asks Redis is answered.
    const era = this.#store.eraOf(key);
    if (era !== undefined && era !== copy.era) return undefined;
    const isRecent = performance.now() - copy.era.confirmedAt <= maxStaleOnError;
    return isRecent && this.#inner.now() < deadlineOf(copy.record) ? copy.record : undefined;
  }
}

/** The earlier of both deadlines. */
function deadlineOf(record: LiveRecord): number {
  return Math.min(record.expiresAt, record.absoluteExpiresAt ?? Number.POSITIVE_INFINITY);
}
