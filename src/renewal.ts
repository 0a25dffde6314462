/**
 * Timed rotation (OWASP "renewal timeout"): a live session gets a new id every `renewalTimeout`, and the old one goes on
 * answering until a grace after the new one was first presented, so that requests in flight and a client that missed
 * the response lose nothing. Unlike `renew()`, which is for logins and has no grace.
 */
import { recordFor } from "./compare-and-set.ts";
import { type Context, callStore, tombstoneMs } from "./context.ts";
import type { Budget } from "./deadline.ts";
import { idleMsOf } from "./lifetimes.ts";
import { movedTo, packPointer, pointerOf } from "./moved.ts";
import { beginRenaming, endRenaming } from "./naming.ts";
import { unschedule } from "./schedule.ts";
import type { SessionState } from "./session-state.ts";
import type { NewRecord } from "./store.ts";

/**
 * Whether the session has had its id for `renewalTimeout`. Not while its client still comes with an earlier one: each
 * rotation more would only lead it farther away.
 */
export function isRenewalDue(state: SessionState): boolean {
  const { renewalTimeoutMs } = state.context.options;
  if (renewalTimeoutMs === null || state.phase !== "live" || state.known === undefined || state.isLedOn) return false;
  const since = state.known.content.meta.renewedAt ?? state.known.createdAt;
  return state.context.store.now() - since >= renewalTimeoutMs;
}

/**
 * Moves the session to a new id. Whoever loses the race to another request, or to a save, leaves it: the next request
 * finds the rotation done, or due. @throws {SessionError} `ERR_SESSION_STORE…`
 */
export async function renewInTime(state: SessionState, budget: Budget): Promise<void> {
  const { context, known, id: oldId } = state;
  if (known === undefined) return;
  const { secret, pointer } = movedTo(state.secret, context.options.secrets);
  const now = context.store.now();
  const content = { ...known.content, meta: { ...known.content.meta, renewedAt: now, from: oldId } };
  const record = recordFor(state, known, content, pointer.id);
  const { principal } = content.meta;
  const renaming = await beginRenaming(
    context,
    budget,
    { from: { id: oldId, principal }, to: { id: pointer.id, principal } },
    idleMsOf(context, content.meta),
  );
  // Durable, as the browser is about to drop the old id for the new one.
  const created = await write(context, budget, pointer.id, record, "absent", true).catch(async (error: unknown) => {
    // It may stand there all the same; the next request tries again, under yet another id.
    await forget(context, budget, pointer.id).catch(() => {});
    throw error;
  });
  if (created === undefined) {
    unschedule(context, pointer.id);
    return;
  }
  const moved: NewRecord = { ...record, kind: "moved", payload: packPointer(pointer) };
  if ((await write(context, budget, oldId, moved, known.version, true)) === undefined) {
    await forget(context, budget, pointer.id);
    return;
  }
  const retired = { known: { ...record, version: created, content }, endedFor: undefined, at: oldId };
  if ((await endRenaming(context, budget, renaming, retired)) !== undefined) {
    state.end("revoked");
    return;
  }
  state.setSecret(secret);
  // This request came with the old id: it is not the one that confirms the new one.
  state.isLedOn = true;
  state.known = { ...record, version: created, content };
  state.baseline = { ...state.baseline, meta: { ...state.baseline.meta, renewedAt: now, from: oldId } };
  state.isCookieDue = true;
  context.endedIds.set(oldId, true);
  context.events.emit("renewed", { id: pointer.id, previousId: oldId });
}

/** Nobody knows the new id: away with it. */
async function forget(context: Context, budget: Budget, id: string): Promise<void> {
  unschedule(context, id);
  const until = context.store.now() + tombstoneMs;
  await callStore(context, budget, { operation: "remove", id }, (store, call) =>
    store.remove(id, { reason: "renewed", until }, call),
  );
}

/** Whether this request is the first that presented the new id. */
export function isConfirmationDue(state: SessionState): boolean {
  return state.phase === "live" && state.known?.content.meta.from !== undefined && !state.isLedOn;
}

/** The client has the new cookie: the old id answers for the grace only. */
export async function confirmRenewal(state: SessionState, budget: Budget): Promise<void> {
  const { context, known } = state;
  const oldId = known?.content.meta.from;
  if (known === undefined || oldId === undefined) return;
  const old = await callStore(context, budget, { operation: "read", id: oldId }, (store, call) =>
    store.read(oldId, call),
  );
  const pointer = old?.kind === "moved" ? pointerOf(old) : undefined;
  if (old?.kind === "moved" && pointer !== undefined && pointer.graceEnds === undefined) {
    const graceEnds = context.store.now() + context.options.renewalGraceMs;
    const { version, ...rest } = old;
    const payload = packPointer({ ...pointer, graceEnds });
    // Longer than the grace: a logout that began under the old id finds the session by it. Refused: another request
    // has shortened it.
    const expiresAt = Math.min(old.expiresAt, graceEnds + tombstoneMs);
    await write(context, budget, oldId, { ...rest, payload, expiresAt }, version);
  }
  const { from: _from, ...meta } = known.content.meta;
  const content = { ...known.content, meta };
  const record = recordFor(state, known, content);
  const written = await write(context, budget, state.id, record, known.version);
  // Nobody waited for this: a save may have gone on from it already.
  if (written === undefined || state.known !== known) return;
  state.known = { ...record, version: written, content };
  state.baseline = { ...state.baseline, meta };
}

/** Writes; the new version, or `undefined` where it was refused. */
async function write(
  context: Context,
  budget: Budget,
  id: string,
  record: NewRecord,
  expected: string,
  durable = false,
): Promise<string | undefined> {
  const result = await callStore(context, budget, { operation: "write", id, durable }, (store, call) =>
    store.write(id, record, expected, call),
  );
  return result.ok ? result.version : undefined;
}
