/** The expiry index of the store in memory, in one part. `memory.ts` makes it. */
import type { ExpiryIndex } from "../expiry-index.ts";

/** Which sessions are to be looked at when, in this process. */
export class MemoryExpiry implements ExpiryIndex {
  readonly shards: number = 1;
  readonly #now: () => number;
  readonly #times = new Map<string, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  async schedule(id: string, at: number): Promise<void> {
    this.#times.set(id, at);
  }

  async cancel(id: string): Promise<void> {
    this.#times.delete(id);
  }

  async claim(
    _shard: number,
    { lease, most }: { lease: number; most: number },
  ): Promise<{ ids: string[]; nextAt: number | undefined }> {
    const now = this.#now();
    const due = [...this.#times].filter(([, at]) => at <= now).sort(([, a], [, b]) => a - b);
    const ids = due.slice(0, most).map(([id]) => id);
    for (const id of ids) this.#times.set(id, lease);
    let nextAt: number | undefined;
    for (const at of this.#times.values()) if (nextAt === undefined || at < nextAt) nextAt = at;
    return { ids, nextAt };
  }

  async settle(id: string, lease: number, at: number | undefined): Promise<boolean> {
    if (this.#times.get(id) !== lease) return false;
    if (at === undefined) this.#times.delete(id);
    else this.#times.set(id, at);
    return true;
  }
}
