/**
 * The endings port: a store that tells every node when a record ends, a capability. The engine listens for who listens
 * to it (`sessions.on("destroyed")`, `sessions.watch`). No code lives here.
 */
import type { EndReason } from "./store.ts";

/** What happened to a live record. */
export interface Ending {
  key: string;
  /** Why it ended; `"moved"`: a moved record stands in its place, which says where to. */
  reason: EndReason | "moved";
}

/** Who listens. */
export interface EndingListener {
  /** A record was ended or moved, by whatever node. At most once; what is missed is a gap. */
  ended(ending: Ending): void;
  /** From now on nothing is missed; before now it may have been: look again. Called first of all, too. */
  listening(): void;
}

/** Endings, as they happen. */
export interface Endings {
  /** Listens until the function that this returns is called. Connects in the background, again and again. */
  listen(listener: EndingListener): () => Promise<void>;
}

/** A store that has the capability. */
export interface Announcing {
  readonly endings: Endings;
}
