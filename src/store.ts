/**
 * The store port: what the engine asks of a backend, and nothing about sessions, cookies or frameworks.
 * No code lives here. The engine calls it; `stores/*` implement it; `holdfast/testing` holds the suite that every
 * implementation must pass.
 *
 * Every time is a whole number of milliseconds since the epoch by the *store's* clock (`now()`), so that nodes whose
 * own clocks disagree agree about a session. Every deadline of a record is absolute, never a relative TTL.
 */
import type { SessionError } from "./errors.ts";

/**
 * Why a session came to an end.
 *
 * - `"logout"`: ended by its own browser (`session.destroy()`, `req.session = null`)
 * - `"rotated"`: replaced by an empty session under a new id (`session.regenerate()`)
 * - `"renewed"`: the same data live on under a new id (`session.renew()`)
 * - `"revoked"`: ended from elsewhere (`sessions.destroy(id)`)
 * - `"evicted"`: ended to make room for another one
 * - `"expired"`: its idle or absolute deadline passed
 */
export type EndReason = "logout" | "rotated" | "renewed" | "revoked" | "evicted" | "expired";

/** The times that a store writes and reads beside the payload, all epoch ms by the store's clock. */
export interface Stamps {
  /** Start of the absolute lifetime: creation, or the last login. */
  createdAt: number;
  /** Last write or touch. */
  touchedAt: number;
  /** Idle deadline. From this instant on (`now >= expiresAt`) the record is dead. */
  expiresAt: number;
  /** Absolute deadline, never moved by a touch; `null`: none. From this instant on the record is dead. */
  absoluteExpiresAt: number | null;
}

/** A session that is alive. */
export interface LiveRecord extends Stamps {
  kind: "live";
  /** Opaque token, new for each write; a touch keeps it. */
  version: string;
  /** Opaque bytes. Whoever reads them must not change them. */
  payload: Uint8Array;
}

/** What a timed rotation leaves under the old key for its grace; the payload says where the session went. */
export interface MovedRecord extends Stamps {
  kind: "moved";
  version: string;
  payload: Uint8Array;
}

/** A tombstone, or a record found past its deadline (`reason: "expired"`). Nothing can be written over a tombstone. */
export interface EndedRecord {
  kind: "ended";
  reason: EndReason;
  /** When the tombstone itself goes away, or the deadline that the expired record passed. Epoch ms. */
  expiresAt: number;
}

/**
 * Something stands under the key that is no record of ours, or one that names another key. It is left alone: no
 * write, touch or read changes it, and only `remove` replaces it.
 */
export interface GarbageRecord {
  kind: "garbage";
  /** What was found, for a log line; never the bytes themselves. */
  detail: string;
}

/** All that can stand under a key. */
export type StoreRecord = LiveRecord | MovedRecord | EndedRecord | GarbageRecord;

/** What `write` takes: a live or moved record without its version, which the store gives. */
export type NewRecord = Omit<LiveRecord, "version"> | Omit<MovedRecord, "version">;

/** The last argument of each verb. */
export interface StoreCall {
  /**
   * When the caller stops waiting: monotonic milliseconds on the scale of `performance.now()`. A store may retry until
   * then, and must start nothing after it. The engine gives up at that time whatever the store does.
   */
  deadline: number;
  /** A login, a rotation or an end: worth a confirmation by replicas where the store offers one. */
  durable: boolean;
  /** A read that the backend itself must answer, never a copy in this process. @default false */
  fresh?: boolean;
  /**
   * A read that need not be the newest, as whoever acts on it writes by its version: a replica may answer it where the
   * store offers that. Absent: the newest.
   */
  mayBeStale?: boolean;
  /** Takes what went wrong without failing the call. */
  report?: (error: SessionError) => void;
}

/** What a write came to. A refused write is a result, not an error. */
export type WriteResult =
  | {
      ok: true;
      /** The token that this write gave the record. */
      version: string;
    }
  | {
      ok: false;
      /** The record that beat this one; `undefined`: there is none any more. */
      current: StoreRecord | undefined;
      /**
       * An answer to this very write was lost, and so many writes came since that the record can't tell whether it was
       * applied before them.
       */
      isUncertain?: boolean;
    };

/** What a touch came to: extended; left alone as a newer write had extended it; or nothing there to extend. */
export type TouchResult = "touched" | "superseded" | "gone";

/**
 * Four verbs and a clock. A verb rejects only when the backend is out of reach or refuses service
 * (with `ERR_SESSION_STORE`, or whatever the backend threw); a miss, a lost race and garbage are results.
 */
export interface Store {
  /**
   * Reads what stands under `key`. A miss is `undefined`. A record past either deadline is
   * `{ kind: "ended", reason: "expired" }`, or a miss where the backend removed it already; never a live one.
   */
  read(key: string, call: StoreCall): Promise<StoreRecord | undefined>;

  /**
   * What stands under `key`, where the store can say so at once, without asking anybody: for stores that keep copies.
   * As current as `read`'s answer; `undefined`: ask with `read`. Synchronous and cheap.
   */
  peek?(key: string): LiveRecord | undefined;

  /**
   * Atomic compare-and-set. `expected` is `"absent"` (no record, or an expired one) or the version that was read.
   * Anything else under the key refuses the write and is returned. The backend's own TTL is set in the same step, to
   * the earlier of both deadlines. A write that reached the backend but whose answer was lost may be repeated by the
   * store itself: it must be recognised, not refused.
   */
  write(key: string, record: NewRecord, expected: "absent" | (string & {}), call: StoreCall): Promise<WriteResult>;

  /**
   * Moves `touchedAt` and `expiresAt` (and the backend's TTL) of a live record whose version is still `version`.
   * Never creates a record, never changes the version. A touch older than the last one is left alone (`"superseded"`).
   */
  touch(
    key: string,
    stamp: { version: string; touchedAt: number; expiresAt: number },
    call: StoreCall,
  ): Promise<TouchResult>;

  /**
   * Ends what stands under `key`, whatever its version, and leaves a tombstone until `until`, also where nothing
   * stood. An earlier tombstone that is still there keeps its reason. Resolves to what stood there before, of a live
   * record perhaps without its payload. Repeated by the store itself after a lost answer, it should resolve to that too.
   */
  remove(key: string, end: { reason: EndReason; until: number }, call: StoreCall): Promise<StoreRecord | undefined>;

  /**
   * Which part of the backend holds `key`, where parts fail apart (a Redis Cluster's nodes); absent: it fails as one.
   * Synchronous and cheap.
   */
  shardOf?(key: string): string;

  /** The store's clock: epoch ms. Synchronous and cheap; called several times a request. */
  now(): number;

  /** Releases what the store itself opened (timers, connections of its own); nothing of the caller's. */
  close?(): Promise<void>;
}
