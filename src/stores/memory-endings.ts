/** The endings of the store in memory: told at once, to every engine that shares the store. `memory.ts` makes them. */
import type { Ending, EndingListener, Endings } from "../endings.ts";

/** Endings in this process. */
export class MemoryEndings implements Endings {
  readonly #listeners = new Set<EndingListener>();

  listen(listener: EndingListener): () => Promise<void> {
    this.#listeners.add(listener);
    listener.listening();
    return async () => void this.#listeners.delete(listener);
  }

  /** Tells who listens. */
  announce(ending: Ending): void {
    for (const listener of this.#listeners) listener.ended(ending);
  }
}
