/** What a store can do beside its verbs, for who stands before it: asked of the store itself. The near cache calls it. */
import type { Announcing } from "../endings.ts";
import type { Expiring } from "../expiry-index.ts";
import type { Indexed } from "../principal-index.ts";

/** The capabilities that `store` has, and no others. */
export function capabilitiesOf(store: object): Partial<Indexed & Announcing & Expiring> {
  // What it has shows by its members; their shapes are the ports'.
  const { principals, endings, expiries } = store as Partial<Indexed & Announcing & Expiring>;
  return { ...(principals && { principals }), ...(endings && { endings }), ...(expiries && { expiries }) };
}
