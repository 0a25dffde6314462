/** A clock that stands still until it is told: for tests of lifetimes without waiting. */

/** Epoch ms that move by hand. */
export interface ManualClock {
  now(): number;
  /** Moves the clock, backwards with a negative number. */
  advance(ms: number): void;
}

/** A clock that stands at `start`; the default is the present, so that a backend's own TTLs agree with it. */
export function manualClock(start: number = Date.now()): ManualClock {
  let now = start;
  return {
    now: () => now,
    advance(ms) {
      now += ms;
    },
  };
}
