/**
 * The principal index port: which sessions are whose, a capability that a store may have. The engine calls it; stores
 * implement it beside their four verbs, and `holdfast/testing` runs its cases on every store that does. No code lives
 * here.
 *
 * An index only *names* sessions: what they are stands in their records, so a name may outlive its session (a crash came
 * in between) and is dropped by whoever finds it dead. The opposite, a live session without a name, must not happen:
 * an id is entered before its record is written, and confirmed after that.
 *
 * `owner` is a digest of the principal (43 base64url characters): no index holds a user's name. Times are epoch ms by
 * the store's clock. Every verb is atomic in the backend, may be repeated, and rejects only when that is out of reach.
 */
import type { StoreCall } from "./store.ts";

/** A name in an index. */
export interface IndexEntry {
  /** What `remove` and `prune` take: the id, and more while it is not confirmed. */
  name: string;
  /** Whether it was confirmed: its record was written. */
  isConfirmed: boolean;
  /** The public id of the session. */
  id: string;
  /** When the name lapses by itself: soon where the session was not confirmed yet, else its deadline. */
  until: number;
}

/** A session that is about to be written. */
export interface Entering {
  id: string;
  /** When the name lapses unless it is confirmed. */
  until: number;
  /** When the login, or whatever writes the session, began: a bar that is later refuses it. */
  beganAt: number;
  /** The id that this one takes the place of: both are counted as one session, and a bar that spares that one spares this. */
  replaces?: string;
  /** Most sessions that the owner may have, this one included; absent: no limit. */
  most?: number;
}

/** What entering came to. */
export type Entered =
  | {
      outcome: "entered";
      /** A few names by chance, where there are many: the caller looks whether their sessions live. */
      sample: IndexEntry[];
    }
  /** The owner has as many sessions as may be: all its names. */
  | { outcome: "full"; entries: IndexEntry[] }
  /** A bar was set after the login began. */
  | { outcome: "barred" };

/** Which sessions are whose. */
export interface PrincipalIndex {
  /** Names a session that is about to be written, unless a bar or the limit forbids it: one step. */
  enter(owner: string, entry: Entering, call: StoreCall): Promise<Entered>;
  /**
   * The session was written: its name stays until `until`, that of `replaces` goes. `false`: its name, or that of what it
   * replaces, was removed meanwhile, and so must be the session.
   */
  confirm(owner: string, entry: { id: string; until: number; replaces?: string }, call: StoreCall): Promise<boolean>;
  /** Names a live session, whether it is named already or not: it lives longer, or its name was lost. */
  refresh(owner: string, entry: { id: string; until: number }, call: StoreCall): Promise<void>;
  /** The names that have not lapsed, the first to lapse first. Costs the same however many sessions others have. */
  list(owner: string, call: StoreCall): Promise<IndexEntry[]>;
  /**
   * From now on, and until `until`, nothing is entered that began before; but what replaces `except`. Resolves to
   * `list` as of the same instant.
   */
  bar(owner: string, bar: { until: number; except?: string }, call: StoreCall): Promise<IndexEntry[]>;
  /** Drops names whose sessions were found dead; not one that another session is about to replace: it is needed for that. */
  prune(owner: string, names: readonly string[], call: StoreCall): Promise<void>;
  /** Drops names, or ids, of sessions that were ended, and what is about to replace them must not live either. An owner without names leaves nothing behind. */
  remove(owner: string, names: readonly string[], call: StoreCall): Promise<void>;
}

/** A store that has the capability. */
export interface Indexed {
  readonly principals: PrincipalIndex;
}
