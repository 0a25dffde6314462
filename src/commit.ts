/**
 * Writing a session down: compare-and-set until it wins, three-way merge when somebody else was first, touch and
 * reload; `update(fn)` is `update.ts`. Decides nothing about cookies or responses; works on a SessionState within a Budget.
 */
import type { Data } from "./codec.ts";
import { compareAndSet, leadOn, readRecord, reasonOf } from "./compare-and-set.ts";
import { mergeContents, reportMerge } from "./content-merge.ts";
import { callStore } from "./context.ts";
import type { Budget } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import type { SessionEvents } from "./events.ts";
import { savedHere } from "./following.ts";
import { cut } from "./lifetimes.ts";
import { isSame, rebase } from "./merge.ts";
import { type OwnMeta, withOwn } from "./meta.ts";
import { keepNamed } from "./naming.ts";
import type { Content, Known } from "./record.ts";
import { renew } from "./rotation.ts";
import { check, dataOf, knownFrom } from "./session-content.ts";
import type { SessionState } from "./session-state.ts";
import type { EndReason } from "./store.ts";
import { changesHands } from "./whose.ts";

/** What a save came to. `"gone"`: the session had ended, nothing was stored. */
export type Outcome = "unchanged" | "saved" | "merged" | "gone";

/**
 * Saves what changed. `force`: an untouched new session too. `encoded`: the data as they are now, where the caller knows.
 * @throws {SessionError} `ERR_SESSION_VALUE`, `ERR_SESSION_RESERVED_KEY`, `ERR_SESSION_STORE…`
 */
export async function save(state: SessionState, budget: Budget, force = false, encoded?: Content): Promise<Outcome> {
  if (state.phase === "degraded") return "unchanged";
  let mine = encoded ?? state.content();
  if (!state.differs(mine) && !(force && state.phase === "new")) return "unchanged";
  if (state.phase === "ended") return tooLate(state, mine, "save");
  const { context } = state;
  check(context, state.data, mine.text);
  if (changesHands(state, mine)) {
    // Another user's from now on: under an id that nobody knew before (ASVS 7.2.4).
    const isMerged = await renew(state, budget);
    if (!isMerged) context.events.emit("saved", { id: state.id });
    return isMerged ? "merged" : "saved";
  }
  if (state.phase === "new") mine = state.forCreation(mine);
  let { baseline } = state;
  let conflicts: string[] = [];
  const written = await compareAndSet(state, budget, (known) => {
    if (state.baseline !== baseline) {
      // Another operation on this very session was stored while this one waited: what it brought is no change of ours.
      mine = state.content();
      baseline = state.baseline;
    }
    if (known === state.known) return mine;
    const merged = mergeContents(context, baseline, mine, known?.content);
    conflicts = merged.conflicts;
    return merged.content;
  });
  if ("gone" in written) {
    state.end(written.gone);
    return tooLate(state, mine, "save");
  }
  if ("unchanged" in written) return "unchanged";
  const isMerged = written.known.content !== mine;
  // A reload() meanwhile has taken from the user's object what is stored now: it must not be saved as gone.
  const from = state.baseline === baseline ? mine : state.baseline;
  adopt(state, written.known);
  if (isMerged || from !== mine) bring(state, from, written.known.content);
  if (!isMerged) {
    context.events.emit("saved", { id: state.id });
    return "saved";
  }
  reportMerge(context, state.id, conflicts);
  return "merged";
}

/**
 * Stores something of the session's own at once, its data left as they are; `false`: the session had ended.
 * @throws {SessionError} `ERR_SESSION_STORE…`
 */
export async function saveOwn(state: SessionState, budget: Budget, own: OwnMeta): Promise<boolean> {
  const written = await compareAndSet(state, budget, (known) => {
    const content = known?.content ?? state.baseline;
    return { meta: withOwn(content.meta, { ...content.meta, ...own }), text: content.text };
  });
  if ("gone" in written) state.end(written.gone);
  if ("known" in written) adopt(state, written.known);
  return state.phase === "live";
}

/** Extends the lifetime; `false`: there was nothing to extend. */
export async function touch(state: SessionState, budget: Budget): Promise<boolean> {
  const { context, known, id } = state;
  if (known === undefined) return false;
  const touchedAt = context.store.now();
  const expiresAt = cut(touchedAt + state.idleMs, known.absoluteExpiresAt);
  const stamp = { version: known.version, touchedAt, expiresAt };
  const result = await callStore(context, budget, { operation: "touch", id }, (store, call) =>
    store.touch(id, stamp, call),
  );
  // A response does not wait for its touch: the session may have got another id, or its end, meanwhile.
  if (result === "gone" && (state.id !== id || state.phase !== "live")) return false;
  if (result === "gone") {
    const record = context.options.renewalTimeoutMs === null ? undefined : await readRecord(state, budget);
    if (record?.kind === "moved" && (await leadOn(state, budget, record))?.kind === "live") return true;
    state.end("unknown");
    context.events.emit("gone", { id: state.id, operation: "touch", reason: "unknown" });
    return false;
  }
  const { principal } = known.content.meta;
  // Superseded: the save that moved the version on extended the session as well.
  Object.assign(known, { touchedAt, expiresAt });
  state.isExtended = true;
  if (principal !== undefined) keepNamed(state, id, principal, known);
  return true;
}

/**
 * Drops local changes and reads again, into the same object.
 * @throws {SessionError} `ERR_SESSION_GONE`, `ERR_SESSION_STORE…`
 */
export async function reload(state: SessionState, budget: Budget): Promise<void> {
  const { context } = state;
  await savedHere(context, budget, state.id);
  if (state.failure !== undefined) throw state.failure;
  if (state.phase === "ended") throw gone(state, "reload", state.endReason);
  const isStored = state.phase === "live";
  const found = isStored ? await readRecord(state, budget) : undefined;
  const read = found?.kind === "moved" ? await leadOn(state, budget, found) : found;
  let data: Data = {};
  if (read?.kind === "live") {
    const known = knownFrom(context, state.id, read);
    data = dataOf(context, known.content);
    state.known = known;
    state.baseline = known.content;
    state.own = known.content.meta;
    state.adoptDecoded(data);
  } else if (isStored) {
    state.end(reasonOf(read));
    throw gone(state, "reload", state.endReason);
  }
  state.own = state.baseline.meta;
  state.replaceData(data);
}

/** The store holds `known` now: so does the state. */
export function adopt(state: SessionState, known: Known): void {
  const isCreated = state.phase === "new";
  const before = state.known;
  if (isCreated || known.content.meta.maxAge !== before?.content.meta.maxAge) state.isCookieDue = true;
  if (known.absoluteExpiresAt !== before?.absoluteExpiresAt) state.isExtended = true;
  if (state.isTouchDue(known.touchedAt)) state.isExtended = true;
  state.follow(state.baseline.meta, known.content.meta);
  state.phase = "live";
  state.known = known;
  state.baseline = known.content;
  if (isCreated) state.context.events.emit("created", { id: state.id });
}

/** Brings to the user's object what was stored on top of `from`; what was changed meanwhile stays pending. */
export function bring(state: SessionState, from: Content, stored: Content): void {
  const { context, data } = state;
  const storedData = dataOf(context, stored);
  rebase(data, dataOf(context, from), storedData, context.codec);
  // A merge may have the keys in another order than the object: that is no change, and must not be saved as one.
  if (isSame(data, storedData, context.codec)) state.baseline = { ...state.baseline, text: state.content().text };
}

function tooLate(state: SessionState, mine: Content, operation: "save"): Outcome {
  // Reported once; a later change would be reported again.
  state.baseline = mine;
  state.own = mine.meta;
  state.context.events.emit("gone", { id: state.id, operation, reason: state.endReason });
  return "gone";
}

/** What an operation on an ended session is refused with; reported as `gone`. */
export function gone(
  state: SessionState,
  operation: SessionEvents["gone"]["operation"],
  reason: EndReason | "unknown",
): SessionError {
  state.context.events.emit("gone", { id: state.id, operation, reason });
  const message = `${operation}(): the session has ended (${reason}); begin a new one with regenerate()`;
  return new SessionError("ERR_SESSION_GONE", message);
}
