/**
 * Redis's clock, kept on this process's monotonic one: nodes whose own clocks disagree agree about a session, and a
 * jump of the local wall clock changes nothing. Does no I/O: `redis-link.ts` feeds it what Redis said.
 */

/** A sample older than this is refreshed by the next use. */
const refreshAfterMs = 10 * 60_000;

/** Epoch ms by Redis's clock, from samples of it. Before the first sample: by the local clock. */
export class RedisClock {
  /** Redis's epoch ms minus `performance.now()`, as far as the samples tell. */
  #offset: number = Date.now() - performance.now();
  #sampledAt: number | undefined;

  /** Whole epoch ms. Synchronous. */
  now(): number {
    return Math.floor(performance.now() + this.#offset);
  }

  /** Whether Redis has told its time at all. */
  get synced(): boolean {
    return this.#sampledAt !== undefined;
  }

  /** Whether it is time to ask again. */
  get stale(): boolean {
    return this.#sampledAt === undefined || performance.now() - this.#sampledAt > refreshAfterMs;
  }

  /**
   * Takes a time that Redis told: whole ms (`toldMs`), read somewhere between `sentAt` and `receivedAt` on the scale of
   * `performance.now()`. The offset moves only when the sample proves it wrong, and by no more than that, so that
   * slow answers don't make it swing.
   */
  sample(toldMs: number, sentAt: number, receivedAt: number): void {
    const low = toldMs - receivedAt;
    const high = toldMs + 1 - sentAt;
    if (this.#sampledAt === undefined) this.#offset = (low + high) / 2;
    else if (this.#offset < low) this.#offset = low;
    else if (this.#offset > high) this.#offset = high;
    this.#sampledAt = receivedAt;
  }
}
