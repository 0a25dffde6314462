/**
 * What is under way in one engine, so that `close()` can wait for it: requests between their arrival and their commit,
 * and operations on sessions, wherever they come from. Counts only; it holds on to no request.
 */
import { setImmediate as nextTurn } from "node:timers/promises";

/** The requests and operations under way in one engine. */
export class InFlight {
  #size = 0;
  #wake: (() => void) | undefined;

  /** How many. */
  get size(): number {
    return this.#size;
  }

  /** Counts one more; the returned function ends it, once however often it is called. */
  begin(): () => void {
    this.enter();
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.leave();
    };
  }

  /** Counts one more, until `leave()`. */
  enter(): void {
    this.#size++;
  }

  /** One that entered is over. */
  leave(): void {
    this.#size--;
    if (this.#size === 0) this.#wake?.();
  }

  /** Counts `work` until it settles. */
  async during<T>(work: Promise<T>): Promise<T> {
    this.enter();
    try {
      return await work;
    } finally {
      this.leave();
    }
  }

  /** Resolves when nothing is under way, and nothing began in the turn of the event loop after that. */
  async settled(): Promise<void> {
    do {
      // A response that was cut a moment ago says so in a later turn, and saves then.
      await nextTurn();
      if (this.#size === 0) await nextTurn();
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } while (this.#size > 0);
  }
}
