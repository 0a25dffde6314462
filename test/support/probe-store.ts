/**
 * A store decorator for tests: counts the calls of a real store, and on demand delays them, holds them or makes them
 * fail. It keeps nothing itself. Called by the adapter contract and by tests that need a slow or broken backend.
 */
import type { NewRecord, Store, StoreCall } from "../../src/store.ts";
import { deferred } from "./deferred.ts";

/** The verbs of the store port. */
export type Verb = "read" | "write" | "touch" | "remove";

/** One call that reached the store. */
export interface ProbeCall {
  verb: Verb;
  key: string;
  /** Whether the call has settled, whatever its result. */
  settled: boolean;
}

/** Calls of one verb are waiting at the door until `release()`. */
export interface Hold {
  /** Resolves when the first call has reached the door. */
  readonly reached: Promise<void>;
  /** Lets the waiting calls, and all later ones, through. */
  release(): void;
}

/** A store that can be watched and disturbed. */
export interface ProbeStore extends Store {
  /** Every call since the start or the last `forget()`. */
  readonly calls: readonly ProbeCall[];
  /** Extra time in ms before a call reaches the real store, by verb. */
  readonly delayMs: Partial<Record<Verb, number>>;
  /** Verbs that reject with a connection error. */
  readonly failing: Set<Verb>;
  /** Verbs that do their work and then reject with a connection error: the answer was lost. */
  readonly losing: Set<Verb>;
  /** How many calls of a verb go through before `failing`, `losing` and `hold` count for it. */
  readonly passing: Partial<Record<Verb, number>>;
  /** How many calls of `verb` (default: of all verbs) were made. */
  count(verb?: Verb): number;
  forget(): void;
  /** Holds every call of `verb` from now on; what an `earlier` hold of it keeps goes through now. */
  hold(verb: Verb, earlier?: Hold): Hold;
}

interface Door {
  open: Promise<void>;
  arrived: () => void;
}

/** Wraps `inner`; with nothing set it behaves as `inner` does. */
export function probeStore(inner: Store): ProbeStore {
  const calls: ProbeCall[] = [];
  const delayMs: Partial<Record<Verb, number>> = {};
  const failing = new Set<Verb>();
  const losing = new Set<Verb>();
  const passing: Partial<Record<Verb, number>> = {};
  const doors = new Map<Verb, Door>();

  async function pass<T>(verb: Verb, key: string, call: () => Promise<T>): Promise<T> {
    const entry: ProbeCall = { verb, key, settled: false };
    calls.push(entry);
    const left = passing[verb] ?? 0;
    if (left > 0) {
      passing[verb] = left - 1;
      return call().finally(() => {
        entry.settled = true;
      });
    }
    try {
      const door = doors.get(verb);
      door?.arrived();
      await door?.open;
      const delay = delayMs[verb];
      if (delay) await new Promise((resolve) => setTimeout(resolve, delay));
      if (failing.has(verb)) throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
      const answer = await call();
      if (losing.has(verb)) throw Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
      return answer;
    } finally {
      entry.settled = true;
    }
  }

  return {
    calls,
    delayMs,
    failing,
    losing,
    passing,
    count: (verb) => calls.filter((call) => verb === undefined || call.verb === verb).length,
    forget: () => {
      calls.length = 0;
    },
    hold: (verb, earlier) => {
      earlier?.release();
      const arrived = deferred();
      const open = deferred();
      doors.set(verb, { open: open.promise, arrived: arrived.resolve });
      return {
        reached: arrived.promise,
        release: () => {
          doors.delete(verb);
          open.resolve();
        },
      };
    },
    now: () => inner.now(),
    read: (key: string, call: StoreCall) => pass("read", key, () => inner.read(key, call)),
    write: (key: string, record: NewRecord, expected: string, call: StoreCall) =>
      pass("write", key, () => inner.write(key, record, expected, call)),
    touch: (key, stamp, call) => pass("touch", key, () => inner.touch(key, stamp, call)),
    remove: (key, end, call) => pass("remove", key, () => inner.remove(key, end, call)),
    close: async () => inner.close?.(),
  };
}
