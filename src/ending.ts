/**
 * Ending a session by its public id, whoever asks: its browser, a new login, another device, a limit. What is stored
 * afterwards is a tombstone; the index of its user forgets it, where the store is in reach for that.
 */
import { type Context, callStore, type OwnEnd, tombstoneMs } from "./context.ts";
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
  const previous = await remove(context, budget, id, reason);
  context.endedIds.set(id, true);
  // A timed rotation moved it: what goes on under the new id ends as well.
  const pointer = previous?.kind === "moved" ? pointerOf(previous) : undefined;
  if (pointer !== undefined) return endRecord(context, budget, pointer.id, reason);
  const record = asEnded(previous, context.store.now());
  if (record?.kind === "live") context.events.emit("destroyed", { id, reason });
  unschedule(context, id);
  return { id, record };
}

/**
 * Removes a record. Of two engines that do so at once one ends it, and the other must hear of it: what it hears meanwhile
 * is kept until the store has answered, and told then unless it was the echo of this end.
 */
async function remove(
  context: Context,
  budget: Budget,
  id: string,
  reason: EndReason,
): Promise<StoreRecord | undefined> {
  const until = context.store.now() + tombstoneMs;
  const own = context.ownEnds.get(id) ?? { underWay: 0, isOurs: false, isUnsure: false, heard: undefined };
  // Before it happens: the store's announcement may be here before its answer.
  context.ownEnds.set(id, own);
  own.underWay++;
  try {
    const previous = await callStore(context, budget, { operation: "remove", id, durable: true }, (store, call) =>
      store.remove(id, { reason, until }, call),
    );
    own.isOurs ||= previous?.kind === "live";
    return previous;
  } catch (error) {
    own.isUnsure = true;
    throw error;
  } finally {
    own.underWay--;
    if (own.underWay === 0 && !own.isOurs) settle(context, id, own);
  }
}

/** This engine did not end it, for all it knows: from now on what is heard is told at once. */
function settle({ ownEnds, events }: Context, id: string, { heard, isUnsure }: OwnEnd): void {
  ownEnds.delete(id);
  if (heard === undefined) return;
  events.emit("destroyed", isUnsure ? { id, reason: heard } : { id, reason: heard, isRemote: true });
}

/** Whose session a record is; `undefined`: nobody's, or it can't be told. */
export function principalIn({ options }: Context, id: string, record: LiveRecord): string | undefined {
  try {
    return unpack(record.payload, id, options.transforms).meta.principal;
  } catch {
    return undefined;
  }
}
