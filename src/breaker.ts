/**
 * The circuit breaker before the store: after a few calls that cost their callers a real wait, nobody waits any more
 * until a probe of its own has found the store answering. Reads and writes break apart, and in a store of several
 * shards each of them: one that is out of reach must not take the others down. The state machine is cockatiel's.
 */
import { CircuitState, ConsecutiveBreaker, circuitBreaker, handleWhen } from "cockatiel";
import { Budget } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import type { Store } from "./store.ts";

/** So many slow failures in a row, without a success between them, open the breaker. */
const openAfter = 5;
/** A failure that was faster costs nobody anything, and keeps its own reason; at most half of what a request may wait. */
const slowMs = 100;
/** How often an open breaker asks whether the store is back. */
const probeEveryMs = 250;

/** What a breaker guards. */
export type Side = "read" | "write";

/** The breakers of one engine's store, made as they are needed. */
export class Breakers {
  readonly #store: Store;
  readonly #timeoutMs: number;
  readonly #bySide: Record<Side, Map<string, Breaker>> = { read: new Map(), write: new Map() };

  constructor(store: Store, timeoutMs: number) {
    this.#store = store;
    this.#timeoutMs = timeoutMs;
  }

  /** The breaker of the calls for `key`. */
  of(side: Side, key: string): Breaker {
    const shard = this.#store.shardOf?.(key) ?? "";
    const byShard = this.#bySide[side];
    let breaker = byShard.get(shard);
    if (breaker === undefined) {
      breaker = new Breaker(() => this.#probe(side, key), Math.min(slowMs, this.#timeoutMs / 2));
      byShard.set(shard, breaker);
    }
    return breaker;
  }

  /** Ends the probes. */
  close(): void {
    for (const byShard of Object.values(this.#bySide)) for (const breaker of byShard.values()) breaker.close();
  }

  /** Asks for a record that is nobody's concern; a touch never creates one, and this one's version is nobody's. */
  async #probe(side: Side, key: string): Promise<void> {
    const stamp = { version: "probe", touchedAt: 0, expiresAt: 0 };
    // Within a budget: a store that never answers must not be asked for the last time.
    await new Budget(this.#timeoutMs).spend<unknown>((deadline) => {
      const call = { deadline, durable: false };
      return side === "read" ? this.#store.read(key, call) : this.#store.touch(key, stamp, call);
    });
  }
}

/** One breaker. */
export class Breaker {
  readonly #slow = new WeakSet<Error>();
  readonly #policy = circuitBreaker(
    handleWhen((error) => this.#slow.has(error)),
    { halfOpenAfter: 0, breaker: new ConsecutiveBreaker(openAfter) },
  );
  readonly #probe: () => Promise<void>;
  /** A slow failure was counted, and no success since. Until then no call takes the way through the state machine. */
  #hasFailed = false;
  readonly #slowMs: number;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(probe: () => Promise<void>, slowFromMs: number) {
    this.#probe = probe;
    this.#slowMs = slowFromMs;
    this.#policy.onBreak(() => this.#startProbing());
    this.#policy.onReset(() => clearTimeout(this.#timer));
  }

  /**
   * Runs a call.
   * @throws {SessionError} `ERR_SESSION_STORE` at once while the breaker is open, else what the call throws
   */
  run<T>(call: () => Promise<T>): Promise<T> {
    if (this.#policy.state !== CircuitState.Closed) throw unavailable();
    const start = performance.now();
    return call().then(
      (result) => (this.#hasFailed ? this.#succeed(result) : result),
      (error: unknown) => this.#fail(error, start),
    );
  }

  /** Ends the probes. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  async #fail(error: unknown, start: number): Promise<never> {
    // A store that waited for its replicas in vain has answered.
    const isOutage = !(error instanceof SessionError && error.code === "ERR_SESSION_UNCONFIRMED");
    const isSlow = performance.now() - start >= this.#slowMs;
    if (isOutage && isSlow && error instanceof Error) await this.#count(error);
    throw error;
  }

  /** Counts a slow failure. */
  async #count(failure: Error): Promise<void> {
    this.#hasFailed = true;
    this.#slow.add(failure);
    if (this.#policy.state !== CircuitState.Closed) return;
    await this.#policy.execute(() => Promise.reject(failure)).catch(() => {});
  }

  /** Failures count in a row. */
  async #succeed<T>(result: T): Promise<T> {
    this.#hasFailed = false;
    if (this.#policy.state === CircuitState.Closed) await this.#policy.execute(() => {});
    return result;
  }

  #startProbing(): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      // Nobody waits for it; a failure opens the breaker again, and that starts the next one.
      this.#policy.execute(() => this.#answered()).catch(() => {});
    }, probeEveryMs);
    this.#timer.unref();
  }

  async #answered(): Promise<void> {
    try {
      await this.#probe();
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      this.#slow.add(failure);
      throw failure;
    }
  }
}

function unavailable(): SessionError {
  return new SessionError(
    "ERR_SESSION_STORE",
    `the session store did not answer ${openAfter} times in a row and is not asked until it does; it is tried again every ${probeEveryMs} ms`,
  );
}
