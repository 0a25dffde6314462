/**
 * The store in this process's memory: for development, tests, and apps of one process, whatever number of frameworks
 * and engines in it share one store. Bounded, and it never drops a live session to make room: a full store refuses.
 * A restart loses everything, and other processes see nothing. Published as `holdfast/memory`.
 */
import type { Announcing } from "../endings.ts";
import { SessionError } from "../errors.ts";
import type { Expiring, ExpiryIndex } from "../expiry-index.ts";
import type { Indexed, PrincipalIndex } from "../principal-index.ts";
import type {
  EndedRecord,
  EndReason,
  LiveRecord,
  MovedRecord,
  NewRecord,
  Stamps,
  Store,
  StoreCall,
  StoreRecord,
  TouchResult,
  WriteResult,
} from "../store.ts";
import { MemoryEndings } from "./memory-endings.ts";
import { MemoryExpiry } from "./memory-expiry.ts";
import { MemoryIndex } from "./memory-index.ts";

/** Options of `memoryStore`. */
export interface MemoryStoreOptions {
  /** Most sessions alive at once; the next one is refused with `ERR_SESSION_STORE_FULL`. @default 100_000 */
  max?: number;
  /** Epoch ms, whole; for tests. @default Date.now */
  clock?: () => number;
}

type Kept = LiveRecord | MovedRecord;

/** A sweep is due with the next deadline, but no more often than this. */
const sweepEveryMs = 1_000;
/** `setTimeout` takes no more. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * A store in memory. Its timer never keeps the process alive.
 * @throws {SessionError} `ERR_SESSION_OPTION` for a wrong option
 */
export function memoryStore(options: MemoryStoreOptions = {}): Store & Indexed & Announcing & Expiring {
  const { max = 100_000, clock = Date.now } = options;
  const unknown = Object.keys(options).find((name) => name !== "max" && name !== "clock");
  if (unknown !== undefined) throw wrong(unknown, "an unknown option", "there are max, clock");
  if (!Number.isSafeInteger(max) || max < 1) throw wrong("max", max, "write a whole number from 1");
  if (typeof clock !== "function") throw wrong("clock", clock, "write a function that returns epoch ms");
  return new MemoryStore(max, clock);
}

class MemoryStore implements Store, Indexed, Announcing, Expiring {
  readonly endings: MemoryEndings = new MemoryEndings();
  readonly expiries: ExpiryIndex;
  readonly principals: PrincipalIndex;
  readonly #index: MemoryIndex;
  readonly #max: number;
  readonly #clock: () => number;
  readonly #sessions = new Map<string, Kept>();
  /** In order of arrival. As many as sessions at most; the oldest goes first, which loses a reason and no session. */
  readonly #tombstones = new Map<string, EndedRecord>();
  #versions = 0;
  /** No record's deadline is earlier: until then a sweep finds nothing. */
  #nextDeadline = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #isClosed = false;

  constructor(max: number, clock: () => number) {
    this.#max = max;
    this.#clock = clock;
    this.#index = new MemoryIndex(clock);
    this.principals = this.#index;
    this.expiries = new MemoryExpiry(clock);
  }

  now(): number {
    return this.#clock();
  }

  async read(key: string, call: StoreCall): Promise<StoreRecord | undefined> {
    checkDeadline("read", call);
    return this.#find(key);
  }

  async write(
    key: string,
    record: NewRecord,
    expected: "absent" | (string & {}),
    call: StoreCall,
  ): Promise<WriteResult> {
    checkDeadline("write", call);
    const current = this.#find(key);
    const wins = expected === "absent" ? this.#isFree(key, current) : isKept(current) && current.version === expected;
    if (!wins) return { ok: false, current };
    if (!this.#sessions.has(key)) this.#makeRoom();
    this.#versions += 1;
    const version = `m${this.#versions}`;
    // A copy: a small Buffer is a window on a pool that others write to.
    this.#sessions.set(key, { ...record, version, payload: new Uint8Array(record.payload) });
    this.#tombstones.delete(key);
    this.#expectDeadline(deadlineOf(record));
    if (record.kind === "moved" && current?.kind === "live") this.endings.announce({ key, reason: "moved" });
    return { ok: true, version };
  }

  async touch(
    key: string,
    stamp: { version: string; touchedAt: number; expiresAt: number },
    call: StoreCall,
  ): Promise<TouchResult> {
    checkDeadline("touch", call);
    const current = this.#find(key);
    if (current?.kind !== "live") return "gone";
    // Two touches may overtake each other: the later one stays.
    if (current.version !== stamp.version || current.touchedAt > stamp.touchedAt) return "superseded";
    const touched = { ...current, touchedAt: stamp.touchedAt, expiresAt: stamp.expiresAt };
    this.#sessions.set(key, touched);
    this.#expectDeadline(deadlineOf(touched));
    return "touched";
  }

  async remove(
    key: string,
    end: { reason: EndReason; until: number },
    call: StoreCall,
  ): Promise<StoreRecord | undefined> {
    checkDeadline("remove", call);
    const before = this.#find(key);
    const earlier = this.#tombstones.get(key);
    const stands = before === earlier ? earlier : undefined;
    this.#sessions.delete(key);
    this.#tombstones.delete(key);
    this.#tombstones.set(key, {
      kind: "ended",
      reason: stands?.reason ?? end.reason,
      expiresAt: Math.max(stands?.expiresAt ?? 0, end.until),
    });
    this.#boundTombstones();
    this.#expectDeadline(end.until);
    if (before?.kind === "live") this.endings.announce({ key, reason: end.reason });
    return before;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #find(key: string): StoreRecord | undefined {
    const now = this.#clock();
    const tombstone = this.#tombstones.get(key);
    if (tombstone !== undefined && now < tombstone.expiresAt) return tombstone;
    const record = this.#sessions.get(key);
    if (record === undefined || now < deadlineOf(record)) return record;
    return { kind: "ended", reason: "expired", expiresAt: deadlineOf(record) };
  }

  /** Nothing there, or an expired session; not a tombstone, which may have the reason "expired", too. */
  #isFree(key: string, current: StoreRecord | undefined): boolean {
    return current === undefined || (current.kind === "ended" && current !== this.#tombstones.get(key));
  }

  #makeRoom(): void {
    if (this.#sessions.size < this.#max) return;
    this.#sweep();
    if (this.#sessions.size < this.#max) return;
    throw new SessionError(
      "ERR_SESSION_STORE_FULL",
      `memoryStore holds ${this.#max} live sessions: raise its option max, shorten ttl, or use redisStore`,
    );
  }

  #boundTombstones(): void {
    if (this.#tombstones.size <= this.#max) return;
    this.#sweep();
    for (const key of this.#tombstones.keys()) {
      if (this.#tombstones.size <= this.#max) return;
      this.#tombstones.delete(key);
    }
  }

  /** Removes what is dead. Costs a look at every record, and nothing while no deadline can have passed. */
  #sweep(): void {
    const now = this.#clock();
    if (now < this.#nextDeadline) return;
    let next = Number.POSITIVE_INFINITY;
    for (const [key, record] of this.#sessions) {
      const deadline = deadlineOf(record);
      if (now >= deadline) this.#sessions.delete(key);
      else if (deadline < next) next = deadline;
    }
    for (const [key, { expiresAt }] of this.#tombstones) {
      if (now >= expiresAt) this.#tombstones.delete(key);
      else if (expiresAt < next) next = expiresAt;
    }
    this.#nextDeadline = next;
    this.#index.sweep((id) => this.#sessions.has(id));
  }

  #expectDeadline(deadline: number): void {
    if (deadline < this.#nextDeadline) this.#nextDeadline = deadline;
    this.#arm();
  }

  /** One timer, for the earliest deadline; it stops with the last record. */
  #arm(): void {
    if (this.#isClosed || this.#nextDeadline >= this.#timerAt || this.#nextDeadline === Number.POSITIVE_INFINITY)
      return;
    clearTimeout(this.#timer);
    this.#timerAt = this.#nextDeadline;
    const waitMs = Math.min(Math.max(this.#nextDeadline - this.#clock(), sweepEveryMs), longestTimerMs);
    this.#timer = setTimeout(() => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.#sweep();
      this.#arm();
    }, waitMs);
    this.#timer.unref();
  }
}

/** The earlier of both deadlines. */
function deadlineOf(stamps: Pick<Stamps, "expiresAt" | "absoluteExpiresAt">): number {
  return Math.min(stamps.expiresAt, stamps.absoluteExpiresAt ?? Number.POSITIVE_INFINITY);
}

function isKept(record: StoreRecord | undefined): record is Kept {
  return record?.kind === "live" || record?.kind === "moved";
}

function checkDeadline(verb: string, call: StoreCall): void {
  if (performance.now() < call.deadline) return;
  throw new SessionError("ERR_SESSION_STORE", `memoryStore could not ${verb} in time: the time was up before it began`);
}

function wrong(name: string, received: unknown, cure: string): SessionError {
  const shown = typeof received === "object" && received !== null ? "an object" : String(received);
  return new SessionError("ERR_SESSION_OPTION", `memoryStore option ${name}: received ${shown}; ${cure}`);
}
