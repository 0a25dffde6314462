/**
 * What every part of one engine shares, and the one way to call its store: within a budget, failures reported.
 */
import type { LRUCache } from "lru-cache";
import type { Background } from "./background.ts";
import type { Breakers } from "./breaker.ts";
import type { Codec } from "./codec.ts";
import type { Budget } from "./deadline.ts";
import type { Endings } from "./endings.ts";
import { SessionError } from "./errors.ts";
import type { Events, Notices, StoreOperation } from "./events.ts";
import type { ExpiryIndex } from "./expiry-index.ts";
import type { InFlight } from "./in-flight.ts";
import type { KnownCookies } from "./known-cookies.ts";
import type { Leftovers } from "./leftovers.ts";
import type { ResolvedOptions } from "./options.ts";
import type { PrincipalIndex } from "./principal-index.ts";
import type { EndReason, Store, StoreCall } from "./store.ts";
import type { Suspicion } from "./suspicion.ts";
import type { Writers } from "./writers.ts";

/** One engine's shared parts. */
export interface Context {
  readonly options: ResolvedOptions;
  readonly store: Store;
  readonly codec: Codec;
  /** The codec's text of no data at all. */
  readonly emptyText: string;
  readonly events: Events;
  readonly notices: Notices;
  /** Public ids that this process saw rotate or end a moment ago: their cookie is not sent again. */
  readonly endedIds: LRUCache<string, true>;
  /** Who guesses. */
  readonly suspicion: Suspicion;
  readonly breakers: Breakers;
  readonly cookies: KnownCookies;
  /** Saves that go on after their response. */
  readonly background: Background;
  /** What `close()` waits for. */
  readonly inFlight: InFlight;
  /** `false`: for requests that came after `close()` was called; they begin no session. */
  readonly opensSessions: boolean;
  /** Who of this process is writing which session. */
  readonly writers: Writers;
  /** Which sessions are whose; `undefined`: the store can't say. */
  readonly principals: PrincipalIndex | undefined;
  /** Ends that this engine brings about, or did a moment ago. */
  readonly ownEnds: LRUCache<string, OwnEnd>;
  /** What tells of other nodes' ends; `undefined`: the store doesn't. */
  readonly endings: Endings | undefined;
  /** What is due to expire; `undefined`: nobody wants to know, or the store can't say. */
  readonly expiries: ExpiryIndex | undefined;
  /** Notes there that are to go. */
  readonly leftovers: Leftovers;
  /**
   * Public ids: when this process sees next to their names in the index, and until when those stand without that; epoch
   * ms by the store's clock.
   */
  readonly refreshDue: LRUCache<string, { at: number; until: number }>;
}

/** The end of one session, as far as this engine brings it about: another one may be faster. */
export interface OwnEnd {
  /** Removals that the store has not answered yet. */
  underWay: number;
  /** One of them ended the session: what is heard of that is its echo. */
  isOurs: boolean;
  /** The answer to one was lost: what is heard may be its echo. */
  isUnsure: boolean;
  /** What was heard while they were under way. */
  heard: EndReason | undefined;
}

/** How long a tombstone stands, and how long a process remembers an ended id: longer than any request in flight. */
export const tombstoneMs = 60_000;

/**
 * Calls one verb of the store.
 * @throws {SessionError} `ERR_SESSION_STORE`, `ERR_SESSION_STORE_TIMEOUT`, …; reported as `storeError`
 */
export async function callStore<T>(
  context: Context,
  budget: Budget,
  call: { operation: StoreOperation; id: string; durable?: boolean; mayBeStale?: boolean },
  verb: (store: Store, call: StoreCall) => Promise<T>,
): Promise<T> {
  const { operation, id, durable = false, mayBeStale = false } = call;
  const report = (error: SessionError): void => context.events.emit("storeError", { operation, error, id });
  context.inFlight.enter();
  try {
    const breaker = context.breakers.of(operation === "read" ? "read" : "write", id);
    return await breaker.run(() =>
      budget.spend((deadline) => verb(context.store, { deadline, durable, mayBeStale, report })),
    );
  } catch (error) {
    // The budget turns every failure of a store into this class.
    if (error instanceof SessionError) report(error);
    throw error;
  } finally {
    context.inFlight.leave();
  }
}

/** @throws {SessionError} `ERR_SESSION_CLOSED` where the request came after `close()` was called */
export function assertOpensSessions({ opensSessions }: Context): void {
  if (opensSessions) return;
  throw new SessionError(
    "ERR_SESSION_CLOSED",
    "sessions.close() was called, and this node begins no session any more: drain() and close the server first, so that requests go to another node",
  );
}
