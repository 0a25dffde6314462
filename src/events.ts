/**
 * What happens to sessions, for logs, metrics and web sockets. Ids are public ids; no event carries a secret or data.
 * A listener that throws or rejects stops nothing (CVE-2021-34428): it is reported as a process warning.
 */
import type { SessionError } from "./errors.ts";
import type { AnomalyDecision } from "./security-options.ts";
import type { EndReason } from "./store.ts";

/** Each event and what its listeners get. */
export interface SessionEvents {
  /** A session was stored for the first time. */
  created: { id: string };
  /** A change was stored. */
  saved: { id: string };
  /** A change was stored on top of somebody else's; `conflicts`: keys that both had changed (this one's value won). */
  merged: { id: string; conflicts: string[] };
  /** The same data under a new id (`renew()`). */
  renewed: { id: string; previousId: string };
  /**
   * A session was ended: `reason` is `"logout"`, `"rotated"` (`regenerate()`), `"revoked"` or `"evicted"`. `isRemote`: by
   * another engine, be it on another node; told where the store announces ends, and lost while that is out of reach.
   */
  destroyed: { id: string; reason: EndReason; isRemote?: true };
  /**
   * A session ran out, with `expiredEvents`: told by one node at a time, at least once, again where a listener rejected,
   * took longer than a minute, or its node died. Awaited.
   */
  expired: { id: string };
  /** A change or touch came too late: the session had ended; nothing was stored. */
  gone: { id: string; operation: "save" | "touch" | "update" | "reload"; reason: EndReason | "unknown" };
  /**
   * A cookie that is not (or no longer) a session: the request goes on with a new, anonymous one. `issues`: where the
   * `schema` refuses its data, as paths without values.
   */
  rejected: { reason: RejectReason; id?: string; address?: string; issues?: readonly string[] };
  /** `onAnomaly` was asked; `changed`: names of fields, no values. */
  anomaly: { id: string; changed: readonly string[]; decision: AnomalyDecision };
  /**
   * An address (an IPv6 one's /64) sent many cookies that are no session, since `since` (epoch ms): ids that are not
   * ours in form, signatures that are not, ids that the store does not know. Again at each doubling.
   */
  suspicious: { address: string; since: number; malformed: number; badSignature: number; unknown: number };
  /** Two requests changed one key; the later one won. */
  conflict: { id: string; key: string };
  /** The store failed or was too slow. */
  storeError: { operation: StoreOperation; error: SessionError; id?: string };
  /** A cookie was due and could not be set. */
  cookieSkipped: { id: string; reason: SkipReason };
}

/** Why a cookie could not be set: too late, on a connection that browsers refuse it on, or nobody is there any more. */
export type SkipReason = "headers-sent" | "insecure" | "client-gone";

/** Why a cookie was refused. */
export type RejectReason = "malformed" | "bad-signature" | "unknown" | "garbage";

/** What the store was asked when it failed. */
export type StoreOperation = "read" | "write" | "touch" | "remove" | "index";

/** A listener of one event. */
export type Listener<K extends keyof SessionEvents> = (event: SessionEvents[K]) => unknown;

/** A small typed emitter; `on` returns the function that ends the subscription. */
export class Events {
  readonly #listeners = new Map<keyof SessionEvents, Set<(event: never) => unknown>>();

  /** Tells and waits; `false`: a listener failed, which was reported. */
  async tell<K extends keyof SessionEvents>(name: K, event: SessionEvents[K]): Promise<boolean> {
    const results = await Promise.allSettled(
      // `on` pairs each name with its own listeners.
      [...(this.#listeners.get(name) ?? [])].map(async (listener) => (listener as Listener<K>)(event)),
    );
    for (const result of results) if (result.status === "rejected") report(name, result.reason);
    return results.every(({ status }) => status === "fulfilled");
  }

  /** Reports a listener that failed. */
  fail(name: keyof SessionEvents, error: unknown): void {
    report(name, error);
  }

  on<K extends keyof SessionEvents>(name: K, listener: Listener<K>): () => void {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set);
    set.add(listener);
    return () => void set.delete(listener);
  }

  /** Whether anybody listens to an event. */
  has(name: keyof SessionEvents): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }

  emit<K extends keyof SessionEvents>(name: K, event: SessionEvents[K]): void {
    const set = this.#listeners.get(name);
    if (set === undefined) return;
    for (const listener of [...set]) {
      try {
        // `on` is the only writer and pairs each name with its own listeners.
        const result = (listener as Listener<K>)(event);
        if (result instanceof Promise) result.catch((error: unknown) => report(name, error));
      } catch (error) {
        report(name, error);
      }
    }
  }
}

function report(name: string, error: unknown): void {
  const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.emitWarning(`a listener of "${name}" failed: ${reason}`, {
    type: "HoldfastWarning",
    code: "HOLDFAST_LISTENER",
  });
}

/** Reports, each code once in the life of its owner, through `process.emitWarning`. */
export class Notices {
  readonly #seen = new Set<string>();

  /** `key` tells reports of one code apart (a data key); at most 1000 are remembered, and so reported. */
  once(code: string, message: string, key = ""): void {
    const mark = `${code} ${key}`;
    if (this.#seen.has(mark) || this.#seen.size >= 1000) return;
    this.#seen.add(mark);
    process.emitWarning(message, { type: "HoldfastWarning", code });
  }
}
