/**
 * Saves that go on after their response (`commit: "background"`): how many, for which sessions, and until when. A
 * session's next request on this node waits for them, so that it reads what it wrote; `close()` waits for all. What a
 * crash loses is what is under way here, `max` saves at most.
 */

/** The saves under way in one engine. */
export class Background {
  readonly #max: number;
  readonly #bySession = new Map<string, Promise<void>>();
  #size = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Saves under way. */
  get size(): number {
    return this.#size;
  }

  /** Whether the next save has to be waited for, as in `"before-response"`. */
  get isFull(): boolean {
    return this.#size >= this.#max;
  }

  /** Takes a save that has begun; the promise settles with it and never rejects. */
  add(id: string, save: Promise<unknown>): Promise<void> {
    this.#size++;
    const done = Promise.all([this.#bySession.get(id), save.catch(() => {})]).then(() => {
      this.#size--;
      if (this.#bySession.get(id) === done) this.#bySession.delete(id);
    });
    this.#bySession.set(id, done);
    return done;
  }

  /** The saves of one session; `undefined`: there are none. */
  of(id: string): Promise<void> | undefined {
    return this.#bySession.get(id);
  }

  /** Resolves when nothing is under way. */
  async drained(): Promise<void> {
    while (this.#bySession.size > 0) await Promise.all(this.#bySession.values());
  }
}
