/**
 * The line before one session's record: writers of this process take turns, and each starts from what the one before it
 * wrote. Forty parallel requests then cost about forty writes, not forty rounds of refusals. Only an optimisation:
 * what is right is decided by compare-and-set, which also holds against other processes.
 */
import type { Budget } from "./deadline.ts";
import type { Known } from "./record.ts";
import type { EndReason } from "./store.ts";

/** What a write came to: the record as written, or why there is none. */
export type Written = { known: Known } | { gone: EndReason | "unknown" } | { unchanged: true };

interface Line {
  /** Settles when the last one in line is done. */
  tail: Promise<void>;
  length: number;
  /** What the last writer wrote. */
  last: Known | undefined;
}

/** The lines of all sessions that are being written right now. */
export class Writers {
  readonly #lines = new Map<string, Line>();

  /**
   * Runs `write` when those before it are done, with the record that they wrote last.
   * @throws {SessionError} `ERR_SESSION_STORE_TIMEOUT` when the turn does not come within the budget
   */
  async takeTurn(id: string, budget: Budget, write: (last: Known | undefined) => Promise<Written>): Promise<Written> {
    const line = this.#lines.get(id) ?? { tail: Promise.resolve(), length: 0, last: undefined };
    this.#lines.set(id, line);
    const turn = line.tail;
    const isFirst = line.length === 0;
    let leave: () => void = () => {};
    const left = new Promise<void>((resolve) => {
      leave = resolve;
    });
    // Whoever gives up while waiting must not let the next one overtake those before it.
    line.tail = turn.then(() => left);
    line.length++;
    try {
      if (!isFirst) await budget.spend(() => turn);
      const result = await write(line.last);
      if ("known" in result) line.last = result.known;
      return result;
    } finally {
      leave();
      line.length--;
      if (line.length === 0) this.#lines.delete(id);
    }
  }
}
