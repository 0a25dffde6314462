/**
 * The end of a session, and its new beginnings: `destroy`, `regenerate` (empty, new id) and `renew` (same data, new id).
 * An end is final: what is stored under the old id afterwards is a tombstone. Works on a SessionState within a Budget.
 */
import { idInUse, pause, readable, recordFor } from "./compare-and-set.ts";
import { mergeContents, reportMerge } from "./content-merge.ts";
import { assertOpensSessions, type Context, callStore, tombstoneMs } from "./context.ts";
import type { Budget } from "./deadline.ts";
import { type Ended, end } from "./ending.ts";
import type { SessionError } from "./errors.ts";
import { read } from "./following.ts";
import { newSecret, publicIdOf } from "./id.ts";
import { idleMsOf } from "./lifetimes.ts";
import { rebase, setKey } from "./merge.ts";
import { withOwn } from "./meta.ts";
import { asEnded, pointerOf, retiredRecord } from "./moved.ts";
import { beginRenaming, endedMeanwhile, endRenaming, undoRenaming, withdraw } from "./naming.ts";
import type { Content, Known } from "./record.ts";
import { unschedule } from "./schedule.ts";
import { check, dataOf } from "./session-content.ts";
import { SessionState } from "./session-state.ts";
import type { EndReason } from "./store.ts";

/** Ends the session for its own browser. */
export async function destroy(state: SessionState, budget: Budget): Promise<void> {
  if (state.failure !== undefined) throw state.failure;
  if (state.phase === "ended") return;
  // Until it is done the commit of the response will try again: an end that failed must not look like one.
  state.isEndDue = true;
  const { phase, id } = state;
  const previous = phase === "live" ? await end(state.context, budget, id, "logout") : undefined;
  state.replaceData({});
  state.end("logout");
  state.baseline = { meta: {}, text: state.context.emptyText };
  state.own = {};
  state.isClearDue = isOurs(phase, previous);
}

/** Ends the session and begins an empty one, with the data keys `keep` carried over. */
export async function regenerate(state: SessionState, budget: Budget, keep: readonly string[]): Promise<SessionState> {
  if (state.failure !== undefined) throw state.failure;
  // Before the old one ends: the new one could not be stored.
  assertOpensSessions(state.context);
  const previous = state.phase === "live" ? await end(state.context, budget, state.id, "rotated") : undefined;
  const next = new SessionState(state.context);
  next.isLogin = true;
  next.loginAt = state.context.store.now();
  next.describe = state.describe;
  next.isClearDue = state.isClearDue || (state.phase === "live" && isOurs("live", previous));
  for (const key of keep) {
    if (Object.hasOwn(state.data, key)) setKey(next.data, key, state.data[key]);
  }
  state.end("rotated");
  return next;
}

/** Why a session gets a new id. */
export interface Renewal {
  /**
   * Whether its user has just logged in, or proved again who it is. `false`: only what the user may do has changed;
   * `authenticatedAt`, `createdAt` and the absolute deadline stay as they are. Another principal is a login all the same.
   * @default true
   */
  login?: boolean;
}

/**
 * Gives the data a new id; the old one is dead at once. Resolves to whether another request's change was taken along.
 * @throws {SessionError} `ERR_SESSION_CONFLICT` as a save: the old id goes on as it is
 */
export async function renew(state: SessionState, budget: Budget, { login = true }: Renewal = {}): Promise<boolean> {
  if (state.failure !== undefined) throw state.failure;
  state.isLogin = true;
  if (state.phase !== "live" || state.known === undefined) {
    // Nothing to rename: a login on a new session, or after an end, begins a session under an id of its own.
    if (login) state.restart();
    return false;
  }
  const { context, id: oldId, known: base, own } = state;
  const content = state.content();
  check(context, state.data, content.text);
  const isLogin = login || content.meta.principal !== base.content.meta.principal;
  const mine = underNewId(state, content, isLogin);
  const earlier = isLogin ? undefined : base;
  const secret = newSecret(context.options.genId);
  const id = publicIdOf(secret);
  const from = { id: oldId, principal: base.content.meta.principal };
  const to = { id, principal: mine.meta.principal };
  const renaming = await beginRenaming(context, budget, { from, to }, idleMsOf(context, mine.meta));
  let failure: SessionError | undefined;
  // The new record first: a crash in between leaves the old session alive, not the user without one.
  const begun = create(state, budget, { id, content: mine, expected: "absent", earlier });
  let known = await begun.catch((error: unknown) => withdraw(context, id, error));
  let isOldInDoubt = true;
  let conflicts: string[] | undefined;
  // What another saved under the old id is in the new record before that ends: no failure in between takes it away.
  const takeOver = async (theirs: Content | undefined): Promise<void> => {
    isOldInDoubt = false;
    const written = known.content;
    const merged = mergeContents(context, state.baseline, mine, theirs);
    conflicts = theirs && merged.conflicts;
    const taken = underNewId(state, merged.content, isLogin);
    known = await create(state, budget, { id, content: taken, expected: known.version, earlier });
    rebase(state.data, dataOf(context, written), dataOf(context, taken), context.codec);
    isOldInDoubt = true;
  };
  try {
    const retired = await retire(context, budget, { id: oldId, base }, takeOver);
    failure = await endRenaming(context, budget, renaming, { known, ...retired });
  } catch (error) {
    if (!isOldInDoubt) await undoRenaming(context, budget, renaming).catch(() => unschedule(context, id));
    throw error;
  } finally {
    // Where the store failed meanwhile, nobody can tell whether the old id is dead: the browser must have the new one.
    if (isOldInDoubt) {
      state.setSecret(secret);
      state.follow(own, known.content.meta);
      state.known = known;
      state.baseline = known.content;
      state.isCookieDue = true;
    }
  }
  if (failure !== undefined) {
    state.end("revoked");
    throw failure;
  }
  context.events.emit("renewed", { id, previousId: oldId });
  if (conflicts !== undefined) reportMerge(context, id, conflicts);
  return conflicts !== undefined;
}

/** What an old id had come to when it was retired. */
interface Retired {
  /** Why it had ended already, where it had. */
  endedFor: EndReason | undefined;
  /** The id that was retired: another one where a timed rotation came in between. */
  at: string;
}

/**
 * Puts an end to the old id of a renewed session, by compare-and-set: what another request saved there until then is
 * seen, also where an answer is lost on the way, and handed to `takeOver` before it ends: `undefined` where the
 * session had ended.
 */
async function retire(
  context: Context,
  budget: Budget,
  old: { id: string; base: Known },
  takeOver: (theirs: Content | undefined) => Promise<void>,
): Promise<Retired> {
  let { id } = old;
  let { version } = old.base;
  for (let attempt = 0; ; attempt++) {
    const now = context.store.now();
    const result = await callStore(context, budget, { operation: "write", id, durable: true }, (store, call) =>
      store.write(id, retiredRecord(now, now + tombstoneMs), version, call),
    );
    context.endedIds.set(id, true);
    if (result.ok) return { endedFor: undefined, at: id };
    const pointer = result.current?.kind === "moved" ? pointerOf(result.current) : undefined;
    // A timed rotation came in between: what goes on under its new id is what must end.
    if (pointer !== undefined) id = pointer.id;
    const current =
      pointer === undefined ? asEnded(result.current, context.store.now()) : await read(context, budget, id);
    // A parallel login renewed it: that session lives on, and so may this copy.
    const endedFor = current?.kind === "ended" ? current.reason : undefined;
    if (endedFor === "renewed") return { endedFor, at: id };
    if (current?.kind !== "live") {
      await takeOver(undefined);
      return { endedFor, at: id };
    }
    const theirs = current.version === version ? undefined : readable(context, id, current)?.content;
    version = current.version;
    if (theirs !== undefined) await takeOver(theirs);
    await budget.spend(() => pause(attempt));
  }
}

/**
 * Whether this request's end is the one that counts, so that the browser's cookie may be cleared. Where a tombstone
 * stood already the browser may hold the cookie of a newer login.
 */
function isOurs(phase: SessionState["phase"], previous: Ended | undefined): boolean {
  const record = previous?.record;
  return phase !== "live" || record?.kind !== "ended" || record.reason === "expired";
}

/** What a timed rotation noted is of the id that ends; the new one has its whole `renewalTimeout`. */
function underNewId(state: SessionState, { meta, text }: Content, isLogin: boolean): Content {
  const rest = meta.v === undefined ? {} : { v: meta.v };
  const own = isLogin ? state.withLogin(meta, state.context.store.now()) : meta;
  const { loginAt: _login, ...nobodys } = own;
  // What makes it nobody's is a logout.
  const isLogout = meta.principal === undefined && state.baseline.meta.principal !== undefined;
  return { meta: withOwn(rest, isLogout ? nobodys : own), text };
}

/** Writes the renewed record; `earlier`: it lives as long as that one, where a login starts its absolute lifetime anew. */
async function create(
  state: SessionState,
  budget: Budget,
  renewed: { id: string; content: Content; expected: string; earlier: Known | undefined },
): Promise<Known> {
  const { id, content, expected, earlier } = renewed;
  const record = recordFor(state, earlier, content, id);
  const call = { operation: "write", id, durable: true } as const;
  const result = await callStore(state.context, budget, call, (store, options) =>
    store.write(id, record, expected, options),
  );
  if (result.ok) return { ...record, version: result.version, content };
  const { current } = result;
  if (current?.kind === "ended") {
    // Its name was read by who ended all of the user's sessions.
    state.end("revoked");
    throw endedMeanwhile();
  }
  if (expected === "absent") throw idInUse();
  // Nobody else knows this id: what it was given a moment ago is gone with the server that acknowledged it.
  return create(state, budget, { ...renewed, expected: current?.kind === "live" ? current.version : "absent" });
}
