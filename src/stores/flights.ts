/**
 * What is under way between a near cache and its store, by key: an answer that left before a change must not be kept
 * after it, whichever of the two arrives first. `near-cache.ts` calls it.
 */

/** What is under way for one key. */
export interface Flights {
  /** Moves on with each change that was reported or begun. */
  readonly changes: number;
}

/** The keys with calls under way; nothing is kept of any other. */
export class FlightBoard {
  readonly #byKey = new Map<string, { changes: number; count: number }>();

  /** Runs a call for `key`; while it runs, `changed` moves its `changes` on. */
  async run<T>(key: string, call: (flights: Flights) => Promise<T>): Promise<T> {
    const flights = this.#byKey.get(key) ?? { changes: 0, count: 0 };
    this.#byKey.set(key, flights);
    flights.count++;
    try {
      return await call(flights);
    } finally {
      flights.count--;
      if (flights.count === 0) this.#byKey.delete(key);
    }
  }

  /** What is under way for `key` may bring something older than what stands there now. */
  changed(key: string): void {
    const flights = this.#byKey.get(key);
    if (flights !== undefined) flights.changes++;
  }
}
