/**
 * The port between a near cache and the store behind it: a store that reports which of the records that were read
 * through it have changed since. No code lives here. `near-cache.ts` uses it, `redis.ts` implements it.
 */
import type { NewRecord, Store, StoreCall, StoreRecord, WriteResult } from "../store.ts";

/**
 * One unbroken stretch of tracking: a copy that was read in an era is current for as long as that era is the key's own
 * (`eraOf`), nobody reported the key, and the time is before `trustedUntil`. An era never comes back.
 */
export interface Era {
  /**
   * Until when silence means that nothing changed, by `performance.now()`: the reports' way is proved to work again
   * and again, and what is not proved in time doesn't count. In the past once the era is over.
   */
  trustedUntil: number;
  /** Until when every change is known to have been reported, by `performance.now()`. */
  confirmedAt: number;
  /** The copies of this era are of no use any more, not even to bridge an outage. */
  isFlushed: boolean;
}

/** A call through a tracked store. */
export interface TrackedCall extends StoreCall {
  /**
   * Called for each attempt as its command leaves. `era`: what it reads or writes is reported in that era; `undefined`:
   * it is not. The last call counts.
   */
  onSent?(era: Era | undefined): void;
}

/** The verbs of a store, on connections whose reads are tracked; where there are none just now, on the usual one. */
export interface TrackedStore extends Store {
  read(key: string, call: TrackedCall): Promise<StoreRecord | undefined>;
  write(key: string, record: NewRecord, expected: "absent" | (string & {}), call: TrackedCall): Promise<WriteResult>;
  /** The era that is under way for `key`; `undefined`: none, and the next one is being prepared. Synchronous. */
  eraOf(key: string): Era | undefined;
  /** Ends the tracking and its connections; leaves the store that it was made of open. */
  close(): Promise<void>;
}

/** A store that can be tracked. */
export interface TrackableStore extends Store {
  /**
   * Begins to track. What is changed through the result is not reported where its own call ended as tracked; every
   * other change is, by whomever.
   * @throws {SessionError} `ERR_SESSION_OPTION` where the backend's client can't do it
   */
  track(onChange: (key: string) => void): TrackedStore;
}
