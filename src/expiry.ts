/**
 * Who tells of expired sessions: takes a lease of what is due, looks at the record, tells, waits for the listeners, and
 * forgets the session only then. So each is told at least once, and by one node at a time: a node that dies, or whose
 * listener does not come back, leaves its leases to lapse. Runs where somebody listens to `expired`; the option
 * `expiredEvents` makes every node note sessions.
 */
import { type Context, callStore } from "./context.ts";
import { Budget, isDoneBy } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import { asEnded } from "./moved.ts";
import { callExpiries } from "./schedule.ts";
import type { StoreRecord } from "./store.ts";

/** How long a node may be silent about what it took, before another one takes it. */
export const leaseMs: number = 30_000;
/** How often a part is asked at least: other nodes note sessions there, too. */
const askEveryMs = 5_000;
const tickMs = 1_000;
/** A listener that takes longer has failed. */
const patienceMs = 60_000;
const mostAtOnce = 100;

/** One engine's look at what is due. */
export class Expiry {
  readonly #context: Context;
  /** When each part is due to be asked, by the store's clock. */
  readonly #askAt = new Map<number, number>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isClosed = false;
  #keepsLeases = true;

  constructor(context: Context) {
    this.#context = context;
  }

  /** Looks every second, which keeps no process alive. */
  begin(): void {
    if (this.#timer !== undefined || this.#isClosed) return;
    this.#timer = setInterval(() => {
      this.#running ??= this.#look().finally(() => {
        this.#running = undefined;
      });
    }, tickMs);
    this.#timer.unref();
  }

  /** Waits for the listeners, until `deadline` (by `performance.now()`) at most: then other nodes tell them again. */
  async close(deadline: number): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await isDoneBy(deadline, Promise.resolve(this.#running));
    this.#keepsLeases = false;
  }

  /** Looks at all that is due now. */
  async #look(): Promise<void> {
    const shards = this.#context.expiries?.shards ?? 0;
    const now = this.#context.store.now();
    const due = Array.from({ length: shards }, (_, shard) => shard).filter(
      (shard) => now >= (this.#askAt.get(shard) ?? 0),
    );
    // Reported as `storeError`; the next look tries again. A part that fails keeps nobody from the others.
    await Promise.all(due.map((shard) => this.#lookAt(shard).catch(() => {})));
  }

  async #lookAt(shard: number): Promise<void> {
    const { store } = this.#context;
    for (;;) {
      const lease = store.now() + leaseMs;
      const { ids, nextAt } = await callExpiries(this.#context, this.#budget(), String(shard), (index, call) =>
        index.claim(shard, { lease, most: mostAtOnce }, call),
      );
      this.#askAt.set(shard, Math.min(nextAt ?? Number.POSITIVE_INFINITY, store.now() + askEveryMs));
      // What failed was reported, and is due again when its lease lapses; the others are told.
      const handled = await Promise.all(ids.map((id) => this.#handle(id, lease).catch(() => undefined)));
      // Whoever takes the lapsed lease should be another node, where there is one.
      if (handled.includes(false)) this.#askAt.set(shard, store.now() + leaseMs + 2 * askEveryMs);
      if (ids.length < mostAtOnce || handled.some((isDone) => isDone !== true) || this.#isClosed) return;
    }
  }

  /** `false`: a listener did not come back. */
  async #handle(id: string, lease: number): Promise<boolean> {
    const { store, events } = this.#context;
    const record = await callStore(this.#context, this.#budget(), { operation: "read", id }, (store, call) =>
      store.read(id, call),
    );
    const deadline = deadlineOf(record, store.now());
    if (deadline !== undefined) {
      await this.#settle(id, lease, deadline);
      return true;
    }
    if (!hasExpired(record, store.now())) {
      await this.#settle(id, lease, undefined);
      return true;
    }
    const held = this.#hold(id, lease);
    const telling = events.tell("expired", { id });
    const isTimely = await isDoneBy(performance.now() + patienceMs, telling, false);
    const last = await held.release();
    if (!isTimely) {
      events.fail(
        "expired",
        new Error(`it had not settled after ${patienceMs / 1_000} seconds; it will be told again`),
      );
      return false;
    }
    // A listener that failed: due again when the lease lapses.
    if (await telling) await this.#settle(id, last, undefined);
    return true;
  }

  /** Keeps a lease while listeners work. */
  #hold(id: string, first: number): { release(): Promise<number> } {
    let lease = first;
    let extending = Promise.resolve();
    const timer = setInterval(() => {
      if (!this.#keepsLeases) return;
      extending = extending.then(async () => {
        const next = this.#context.store.now() + leaseMs;
        if (await this.#settle(id, lease, next).catch(() => false)) lease = next;
      });
    }, leaseMs / 3);
    timer.unref();
    return {
      release: async () => {
        clearInterval(timer);
        await extending;
        return lease;
      },
    };
  }

  #settle(id: string, lease: number, at: number | undefined): Promise<boolean> {
    return callExpiries(this.#context, this.#budget(), id, (index, call) => index.settle(id, lease, at, call));
  }

  #budget(): Budget {
    return new Budget(this.#context.options.storeTimeoutMs);
  }
}

/** When a session that lives is due again; `undefined`: it does not live. */
function deadlineOf(record: StoreRecord | undefined, now: number): number | undefined {
  const current = asEnded(record, now);
  if (current?.kind !== "live") return undefined;
  return Math.min(current.expiresAt, current.absoluteExpiresAt ?? Number.POSITIVE_INFINITY);
}

/** Nothing there any more, or past its deadline. What was ended or moved has been told of otherwise. */
function hasExpired(record: StoreRecord | undefined, now: number): boolean {
  const current = asEnded(record, now);
  return current === undefined || (current.kind === "ended" && current.reason === "expired");
}

/** What `on("expired")` is refused with. */
export function noExpiredEvents(): SessionError {
  return new SessionError(
    "ERR_SESSION_OPTION",
    'on("expired") needs the option expiredEvents: true, on all nodes: without it nobody notes when sessions end',
  );
}
