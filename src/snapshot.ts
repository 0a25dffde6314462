/**
 * A session as the store has it, read without a request: what `sessions.get(id)` gives to management code. A copy:
 * changing it changes nothing.
 */
import type { Context } from "./context.ts";
import type { Description } from "./meta.ts";
import { dataOf, knownFrom } from "./session-content.ts";
import type { SessionData } from "./session-data.ts";
import type { StoreRecord } from "./store.ts";

/** A session as the store has it, for management code; a copy. */
export interface SessionSnapshot {
  /** Public id. */
  id: string;
  data: SessionData & Record<string, unknown>;
  /** Epoch ms, by the store's clock, as all times here. */
  createdAt: number;
  touchedAt: number;
  expiresAt: number;
  absoluteExpiresAt: number | null;
  /** `session.authenticatedAt`. */
  authenticatedAt: number | null;
  /** Who made it or last logged in with it, where the `describe` option says. */
  description: Description | null;
}

/** Of what stands under an id; `undefined`: nothing alive, or garbage. */
export function snapshotOf(
  context: Context,
  { id, record }: { id: string; record: StoreRecord | undefined },
): SessionSnapshot | undefined {
  if (record?.kind !== "live") return undefined;
  try {
    const { createdAt, touchedAt, expiresAt, absoluteExpiresAt, content } = knownFrom(context, id, record);
    const { loginAt: authenticatedAt = null, by: description = null } = content.meta;
    const times = { createdAt, touchedAt, expiresAt, absoluteExpiresAt, authenticatedAt };
    return { id, data: dataOf(context, content), ...times, description };
  } catch {
    return undefined;
  }
}
