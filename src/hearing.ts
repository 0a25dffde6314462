/**
 * Hearing of ends that other nodes brought about: the store's endings become `destroyed` events here, and who watches an
 * id (a web socket) is told. A watched id is looked up when the watch begins, after each gap, and at its deadline, which
 * nobody announces. Nothing runs before somebody listens.
 */
import type { Context } from "./context.ts";
import { Budget } from "./deadline.ts";
import type { Ending } from "./endings.ts";
import { readById } from "./following.ts";
import type { EndReason } from "./store.ts";

/** Told once, when the session that it watches has ended; `"unknown"`: nobody can tell why any more. */
export type EndWatcher = (reason: EndReason | "unknown") => void;

/** So many ids are looked up at once after a gap. */
const batchSize = 50;
const retryMs = 1_000;
/** So often it is asked whether a deadline has come. */
const tickMs = 1_000;

/** One engine's ear. */
export class Hearing {
  readonly #context: Context;
  readonly #watchers = new Map<string, Set<EndWatcher>>();
  /** The deadlines of what is watched, as last seen; by the store's clock. */
  readonly #deadlines = new Map<string, number>();
  #tick: NodeJS.Timeout | undefined;
  #stop: (() => Promise<void>) | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(context: Context) {
    this.#context = context;
    context.events.on("destroyed", ({ id, reason }) => this.#fire(id, reason));
    context.events.on("renewed", ({ previousId }) => this.#lookAgain([previousId]));
  }

  /** Begins to listen, where the store has endings to hear of. */
  begin(): void {
    if (this.#stop !== undefined || this.#isClosed) return;
    this.#stop = this.#context.endings?.listen({
      ended: (ending) => this.#hear(ending),
      listening: () => this.#lookAgain([...this.#watchers.keys()]),
    });
  }

  /** Watches an id until its session ends, or the function that this returns is called. */
  watch(id: string, watcher: EndWatcher): () => void {
    this.begin();
    this.#tick ??= setInterval(() => this.#lookAtDue(), tickMs).unref();
    const watchers = this.#watchers.get(id) ?? new Set();
    this.#watchers.set(id, watchers.add(watcher));
    // It may have ended since the caller read it.
    this.#lookAgain([id]);
    // A timed rotation may have moved it to another id meanwhile.
    return () => {
      for (const [at, set] of this.#watchers) if (set.delete(watcher) && set.size === 0) this.#forget(at);
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    clearInterval(this.#tick);
    this.#watchers.clear();
    this.#deadlines.clear();
    await this.#stop?.();
  }

  #hear({ key, reason }: Ending): void {
    if (reason === "moved") {
      this.#lookAgain([key]);
      return;
    }
    // What a timed rotation that lost its race takes back: nobody was ever given that id. A login's old id is "moved".
    if (reason === "renewed") return;
    const own = this.#context.ownEnds.get(key);
    if (own === undefined) this.#context.events.emit("destroyed", { id: key, reason, isRemote: true });
    // Its own, which it tells of itself, or that of a faster one: the store's answer will say.
    else if (!own.isOurs) own.heard = reason;
  }

  #fire(id: string, reason: EndReason | "unknown"): void {
    const watchers = this.#watchers.get(id);
    this.#forget(id);
    for (const watcher of watchers ?? []) {
      try {
        watcher(reason);
      } catch (error) {
        this.#context.events.fail("destroyed", error);
      }
    }
  }

  #forget(id: string): void {
    this.#watchers.delete(id);
    this.#deadlines.delete(id);
    if (this.#watchers.size > 0) return;
    clearInterval(this.#tick);
    this.#tick = undefined;
  }

  /** Looks whether what should have ended by now lives on: other nodes extend it without a word. */
  #lookAtDue(): void {
    const now = this.#context.store.now();
    this.#lookAgain([...this.#deadlines].filter(([, deadline]) => now >= deadline).map(([id]) => id));
  }

  #lookAgain(ids: readonly string[]): void {
    const watched = ids.filter((id) => this.#watchers.has(id));
    // A store that fails is asked again.
    if (watched.length > 0) this.#lookUp(watched).catch(() => this.#later());
  }

  #later(): void {
    if (this.#isClosed) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#lookAgain([...this.#watchers.keys()]), retryMs);
    this.#retry.unref();
  }

  async #lookUp(ids: readonly string[]): Promise<void> {
    for (let from = 0; from < ids.length && !this.#isClosed; from += batchSize) {
      await Promise.all(ids.slice(from, from + batchSize).map((id) => this.#lookAt(id)));
    }
  }

  async #lookAt(id: string): Promise<void> {
    const { options, store } = this.#context;
    const askedAt = store.now();
    // A near cache may not have heard of the end yet that brings us here.
    const found = await readById(this.#context, new Budget(options.storeTimeoutMs), id, { fresh: true });
    const { record } = found;
    if (record?.kind === "live") {
      if (found.id !== id) {
        this.#move(id, found.id);
        // It may have ended under that id before anybody watched it.
        this.#lookAgain([found.id]);
      }
      const deadline = Math.min(record.expiresAt, record.absoluteExpiresAt ?? Number.POSITIVE_INFINITY);
      if (this.#watchers.has(found.id)) this.#deadlines.set(found.id, deadline);
      return;
    }
    // It ran out while the answer was on its way: it may have been extended after that.
    if (record?.kind === "ended" && record.reason === "expired" && askedAt < record.expiresAt) return this.#lookAt(id);
    const isPast = store.now() >= (this.#deadlines.get(id) ?? Number.POSITIVE_INFINITY);
    this.#fire(id, record?.kind === "ended" ? record.reason : isPast ? "expired" : "unknown");
  }

  /** A timed rotation gave the session another id: the same session goes on. */
  #move(id: string, to: string): void {
    const moved = this.#watchers.get(id) ?? new Set();
    this.#watchers.delete(id);
    this.#deadlines.delete(id);
    this.#watchers.set(to, new Set([...(this.#watchers.get(to) ?? []), ...moved]));
  }
}
