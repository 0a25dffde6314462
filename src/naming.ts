/**
 * A session's name in the index of its user, as its record is written: entered before, confirmed after. Whoever wants
 * to end all sessions of a user then finds every one that is, or may yet be, written. Called where a record is created,
 * renewed, rotated, or changes hands.
 */
import type { Context } from "./context.ts";
import { Budget } from "./deadline.ts";
import { endRecord } from "./ending.ts";
import { SessionError } from "./errors.ts";
import { absoluteDeadline, cut, idleMsOf } from "./lifetimes.ts";
import { confirm, forget, refresh, type SessionName } from "./principals.ts";
import type { Content, Known } from "./record.ts";
import { schedule, unschedule } from "./schedule.ts";
import { enter } from "./session-limit.ts";
import type { SessionState } from "./session-state.ts";
import type { EndReason } from "./store.ts";
import type { Written } from "./writers.ts";

/**
 * Writes `content` on top of `known`, with a name first where that makes the record another user's. `beganAt`: when the
 * operation did, by the store's clock.
 * @throws {SessionError} `ERR_SESSION_LIMIT`, `ERR_SESSION_GONE`, `ERR_SESSION_STORE…`
 */
export async function named<T extends object>(
  state: SessionState,
  budget: Budget,
  { known, content, beganAt }: { known: Known | undefined; content: Content; beganAt: number },
  write: () => Promise<T>,
): Promise<T> {
  const { context, id } = state;
  const { principal } = content.meta;
  const earlier = known?.content.meta.principal;
  const at = timeToNote(context, known, content);
  try {
    if (at !== undefined) await schedule(context, budget, id, at);
    if (principal === earlier) return await write();
    if (principal !== undefined && (state.entering?.id !== id || state.entering.principal !== principal)) {
      await enter(context, budget, { principal, id }, beganAt);
      state.entering = { principal, id };
    }
    const attempted = await write();
    // A name that stays is dropped by whoever reads it.
    if ("known" in attempted && earlier !== undefined) await forget(context, budget, earlier, [id]).catch(() => {});
    return attempted;
  } catch (error) {
    // A session that there is keeps its note.
    if (known === undefined) withdraw(context, id, error, at);
    throw error;
  }
}

/** When to look at a session for the event `expired`, where it begins, or will end sooner than it was to. */
function timeToNote(context: Context, known: Known | undefined, { meta }: Content): number | undefined {
  if (context.expiries === undefined) return undefined;
  const now = context.store.now();
  const at = cut(now + idleMsOf(context, meta), absoluteDeadline(context, known, meta, now));
  return known === undefined || at < known.expiresAt ? at : undefined;
}

/**
 * A new id that could not be stored, for all this node knows: nobody was given it, so its end is told no more than its
 * beginning was. An id that is in use (`genId`) is another session's, whose note stays. @throws `error`
 */
export function withdraw(context: Context, id: string, error: unknown, at?: number): never {
  if (!(error instanceof SessionError && error.code === "ERR_SESSION_ID")) unschedule(context, id, at);
  throw error;
}

/**
 * After a write: its name is confirmed where it is new, else refreshed now and then. A session that was ended
 * meanwhile, its name dropped, must not live.
 */
export async function settleName(state: SessionState, budget: Budget, written: Written): Promise<Written> {
  const { context, entering, id } = state;
  if (!("known" in written)) return written;
  const { principal } = written.known.content.meta;
  if (entering?.id === id && entering.principal === principal) {
    const isNamed = await confirm(context, budget, entering, written.known);
    state.entering = undefined;
    if (isNamed) return written;
    await endRecord(context, budget, id, "revoked");
    return { gone: "revoked" };
  }
  // A wait of its own: nobody waits for it.
  if (principal !== undefined) keepNamed(state, id, principal, written.known);
  return written;
}

/** The session lives on: so does its name. Nobody waits for it. */
export function keepNamed({ context }: SessionState, id: string, principal: string, known: Known): void {
  refresh(context, new Budget(context.options.storeTimeoutMs), id, principal, known);
}

/** A session that is to get a new id, and the name that goes with it. */
export interface Renaming {
  from: { id: string; principal: string | undefined };
  to: { id: string; principal: string | undefined };
  beganAt: number;
}

/**
 * Before the record of a new id is written: its name. In the place of the old one, where it is the same user's.
 * `idleMs`: how long the session lives without a touch.
 * @throws {SessionError} `ERR_SESSION_LIMIT`, `ERR_SESSION_GONE`, `ERR_SESSION_STORE…`
 */
export async function beginRenaming(
  context: Context,
  budget: Budget,
  ids: Pick<Renaming, "from" | "to">,
  idleMs: number,
): Promise<Renaming> {
  const renaming = { ...ids, beganAt: context.store.now() };
  const name = nameOf(renaming);
  try {
    if (context.expiries !== undefined) await schedule(context, budget, ids.to.id, renaming.beganAt + idleMs);
    if (name !== undefined) await enter(context, budget, name, renaming.beganAt);
  } catch (error) {
    withdraw(context, ids.to.id, error);
  }
  return renaming;
}

/**
 * After the old id was retired: the new one's name stays, the old one's goes. Resolves to why the session must not live
 * under the new id, where it mustn't: it was ended meanwhile, and is so now.
 */
export async function endRenaming(
  context: Context,
  budget: Budget,
  { from, to, beganAt }: Renaming,
  { known, endedFor, at }: { known: Known; endedFor: EndReason | undefined; at: string },
): Promise<SessionError | undefined> {
  for (const id of new Set([from.id, at])) unschedule(context, id);
  let name = nameOf({ from, to, beganAt });
  let failure: SessionError | undefined;
  if (name?.replaces !== undefined && (endedFor === "revoked" || endedFor === "evicted")) failure = endedMeanwhile();
  else if (name?.replaces !== undefined && (endedFor === "renewed" || at !== from.id)) {
    // A parallel login, or a timed rotation, has taken the old one's place: this is a session more.
    await forget(context, budget, name.principal, [`${to.id}<${from.id}`]);
    name = { principal: name.principal, id: to.id };
    failure = await enter(context, budget, name, beganAt).then(() => undefined, asRefusal);
  }
  if (failure === undefined && name !== undefined && !(await confirm(context, budget, name, known))) {
    failure = endedMeanwhile();
  }
  if (failure !== undefined) await undoRenaming(context, budget, { from, to, beganAt });
  const isLeft = from.principal !== undefined && (from.principal !== to.principal || at !== from.id);
  if (isLeft && from.principal !== undefined)
    await forget(context, budget, from.principal, [from.id, at]).catch(() => {});
  return failure;
}

/** What was written under the new id must not live: neither must its name. */
export async function undoRenaming(context: Context, budget: Budget, { from, to }: Renaming): Promise<void> {
  await endRecord(context, budget, to.id, "revoked");
  if (to.principal === undefined) return;
  await forget(context, budget, to.principal, [to.id, `${to.id}<${from.id}`]).catch(() => {});
}

function nameOf({ from, to }: Renaming): SessionName | undefined {
  if (to.principal === undefined) return undefined;
  const name = { principal: to.principal, id: to.id };
  return from.principal === to.principal ? { ...name, replaces: from.id } : name;
}

/** A limit or a bar; a store that fails is another matter. */
function asRefusal(error: unknown): SessionError {
  if (error instanceof SessionError && error.status !== 503) return error;
  throw error;
}

/** What a new id is refused with that was ended before its session had it. */
export function endedMeanwhile(): SessionError {
  return new SessionError(
    "ERR_SESSION_GONE",
    "the session was ended from elsewhere while it was to get a new id: log in again",
  );
}
