/**
 * The expiry index port: which sessions are to be looked at when, a capability that a store may have. The engine uses it
 * for the event `expired`, where the option `expiredEvents` asks for it. No code lives here.
 *
 * A session is noted before it is written and looked at when its time comes: one that lives on is noted anew, so that a
 * touch costs nothing here. Whoever looks takes a lease first; what it does not settle is due again when that lapses.
 * Times are epoch ms by the store's clock; every verb is one step in the backend.
 */
import type { StoreCall } from "./store.ts";

/** Which sessions are to be looked at when. */
export interface ExpiryIndex {
  /** The index comes in so many parts, which are claimed one by one. */
  readonly shards: number;
  /** Notes a session, or moves its time. */
  schedule(id: string, at: number, call: StoreCall): Promise<void>;
  /** Forgets a session. */
  cancel(id: string, call: StoreCall): Promise<void>;
  /**
   * Takes up to `most` sessions that are due in one part: nobody else gets them until `lease`. `nextAt`: when the next
   * one there is due, leases included; `undefined`: there is none.
   */
  claim(
    shard: number,
    claim: { lease: number; most: number },
    call: StoreCall,
  ): Promise<{ ids: string[]; nextAt: number | undefined }>;
  /** Ends a lease: the session is forgotten (`undefined`), or due at `at`. `false`: the lease was not held any more. */
  settle(id: string, lease: number, at: number | undefined, call: StoreCall): Promise<boolean>;
}

/** A store that has the capability. */
export interface Expiring {
  readonly expiries: ExpiryIndex;
}
