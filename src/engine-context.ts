/**
 * The parts that one engine's requests share, put together. Called by the engine, once.
 */
import { LRUCache } from "lru-cache";
import { Background } from "./background.ts";
import { Breakers } from "./breaker.ts";
import { jsonCodec } from "./codec.ts";
import { type Context, tombstoneMs } from "./context.ts";
import type { Announcing } from "./endings.ts";
import { Events, Notices } from "./events.ts";
import type { Expiring } from "./expiry-index.ts";
import { InFlight } from "./in-flight.ts";
import { KnownCookies } from "./known-cookies.ts";
import { Leftovers } from "./leftovers.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Indexed } from "./principal-index.ts";
import type { Store } from "./store.ts";
import { Suspicion } from "./suspicion.ts";
import { Writers } from "./writers.ts";

/** Saves after their response that may be under way at once; the next one is waited for. */
const maxInBackground = 1000;

/** Makes the shared parts. Warns where sessions are kept in the memory of a production process. */
export function contextFor(options: ResolvedOptions, store: Store): Context {
  const notices = new Notices();
  const isDevelopment = process.env.NODE_ENV !== "production";
  if (options.store === undefined && !isDevelopment) {
    notices.once(
      "HOLDFAST_MEMORY_STORE",
      "sessions are kept in this process's memory: a restart loses them and no other node sees them; pass store: redisStore(client)",
    );
  }
  const codec = options.codec ?? jsonCodec(isDevelopment ? (key, type) => noticeLossy(notices, key, type) : undefined);
  const events = new Events();
  return {
    options,
    store,
    suspicion: new Suspicion(events, options.suspicion, Date.now),
    breakers: new Breakers(store, options.storeTimeoutMs),
    cookies: new KnownCookies(options.secrets, options.route),
    codec,
    emptyText: codec.encode({}),
    events,
    notices,
    endedIds: new LRUCache({ max: 10_000, ttl: tombstoneMs }),
    background: new Background(maxInBackground),
    inFlight: new InFlight(),
    opensSessions: true,
    writers: new Writers(),
    // What a store can do beside its verbs shows by what it has.
    principals: (store as Partial<Indexed>).principals,
    endings: (store as Partial<Announcing>).endings,
    expiries: options.expiredEvents ? (store as Partial<Expiring>).expiries : undefined,
    leftovers: new Leftovers(),
    ownEnds: new LRUCache({ max: 10_000, ttl: tombstoneMs }),
    refreshDue: new LRUCache({ max: 10_000 }),
  };
}

function noticeLossy(notices: Notices, key: string, type: string): void {
  notices.once(
    "HOLDFAST_LOSSY",
    `session.${key} holds a ${type}, which is stored as its JSON and comes back as such: store a string or a number, or pass a codec`,
    `${key} ${type}`,
  );
}
