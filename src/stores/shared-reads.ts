/**
 * Single flight: parallel reads of one key in one process share one command, for as long as it has not left. From then
 * on its answer could be older than a write that was acknowledged before the next read began, so that one goes by
 * itself. What is shared is the record; nobody changes it. `redis.ts` calls it.
 */
import type { StoreRecord } from "../store.ts";
import type { Era, TrackedCall } from "./tracking.ts";

type Answer = StoreRecord | undefined;

/** The reads of one store that wait for a connection, or for the end of ioredis's tick. */
export class SharedReads {
  readonly #unsent = new Map<string, Promise<Answer>>();

  /** Joins the read of `key` that has not left, or begins one with `read`. */
  join(key: string, call: TrackedCall, read: (call: TrackedCall) => Promise<Answer>): Promise<Answer> {
    const unsent = this.#unsent.get(key);
    if (unsent !== undefined) {
      return unsent.catch((error: unknown) => {
        // Whoever began it may have had less time than this call has.
        if (performance.now() >= call.deadline) throw error;
        return this.join(key, call, read);
      });
    }
    let isSent = false;
    let begun: Promise<Answer> | undefined;
    begun = read({
      ...call,
      onSent: (era: Era | undefined) => {
        // At once, where there is nothing to wait for: nobody could have joined.
        isSent = true;
        this.#leave(key, begun);
        call.onSent?.(era);
      },
    });
    if (isSent) return begun;
    this.#unsent.set(key, begun);
    // One that was refused never leaves. Beside the answer, not before it: who waits is not kept for this.
    begun.catch(() => this.#leave(key, begun));
    return begun;
  }

  #leave(key: string, read: Promise<Answer> | undefined): void {
    if (read !== undefined && this.#unsent.get(key) === read) this.#unsent.delete(key);
  }
}
