/**
 * Ending a session by its public id, whoever asks: its browser, a new login, another device, a limit. What is stored
 * afterwards is a tombstone; the index of its user forgets it, where the store is in reach for that.
 */
import { type Context, callStore, tombstoneMs } from "./context.ts";
import type { Budget } from "./deadline.ts";
import { asEnded, pointerOf } from "./moved.ts";
import { forget } from "./principals.ts";
import { unpack } from "./record.ts";
import { unschedule } from "./schedule.ts";
import type { EndReason, LiveRecord, StoreRecord } from "./store.ts";

/** What stood where a session ended, and under which id: a timed rotation may have moved it. */
export interface Ended {
  id: string;
  record: StoreRecord | undefined;
}

/** Ends a session by its public id, leaves the tombstone and tells who listens; resolves to what stood there. */
export async function end(context: Context, budget: Budget, id: string, reason: EndReason): Promise<Ended> {
  const ended = await endRecord(context, budget, id, reason);
  const principal = ended.record?.kind === "live" ? principalIn(context, ended.id, ended.record) : undefined;
  // The session is dead whatever comes of this; a name that stays is dropped by whoever reads it.
  if (principal !== undefined) await forget(context, budget, principal, [ended.id]).catch(() => {});
  return ended;
}

/** The same, for who sees to the names in the index. */
export async function endRecord(context: Context, budget: Budget, id: string, reason: EndReason): Promise<Ended> {
  const until = context.store.now() + tombstoneMs;
  // Before it happens: the store's announcement may be here before its answer.
  const own = { isHeard: false };
  context.ownEnds.set(id, own);
  const previous = await callStore(context, budget, { operation: "remove", id, durable: true }, (store, call) =>
    store.remove(id, { reason, until }, call),
  ).catch((error: unknown) => {
    context.ownEnds.delete(id);
    // It was done all the same, and its announcement taken for an echo.
    if (own.isHeard) context.events.emit("destroyed", { id, reason });
    throw error;
  });
  context.endedIds.set(id, true);
  // A timed rotation moved it: what goes on under the new id ends as well.
  const pointer = previous?.kind === "moved" ? pointerOf(previous) : undefined;
  if (pointer !== undefined) return endRecord(context, budget, pointer.id, reason);
  const record = asEnded(previous, context.store.now());
  if (record?.kind === "live") context.events.emit("destroyed", { id, reason });
  if (context.expiries !== undefined) await unschedule(context, budget, id);
  return { id, record };
}

/** Whose session a record is; `undefined`: nobody's, or it can't be told. */
export function principalIn({ options }: Context, id: string, record: LiveRecord): string | undefined {
  try {
    return unpack(record.payload, id, options.transforms).meta.principal;
  } catch {
    return undefined;
  }
}
