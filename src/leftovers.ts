/**
 * Notes in the expiry index that are to go and could not be taken back while the store was out of reach; `schedule.ts` tries
 * them again. Bounded: what falls out, as what a crash leaves, is told as `expired`.
 */
import { LRUCache } from "lru-cache";

/** A note that is to go; `at`: only if it is for that time, as another one may have followed. */
export interface Leftover {
  id: string;
  at: number | undefined;
}

const retryMs = 1_000;

/** Those of one engine. */
export class Leftovers {
  readonly #notes: LRUCache<string, Leftover> = new LRUCache({ max: 10_000 });
  #retryAt = 0;

  /** Keeps one that failed. */
  add(note: Leftover): void {
    this.#notes.set(note.id, note);
    this.#retryAt = performance.now() + retryMs;
  }

  /** The next one to try again; `undefined`: there is none, or one failed a moment ago. */
  next(): Leftover | undefined {
    return performance.now() < this.#retryAt ? undefined : this.#notes.pop();
  }
}
