/**
 * How a response leaves whose session needs no save, or one that may wait: touch, timed rotation, and the save after
 * the response (`commit: "background"`). Called by the visit when the head is about to leave.
 */
import { save, touch } from "./commit.ts";
import type { Context } from "./context.ts";
import { Budget } from "./deadline.ts";
import { deliverCookie, isPersistent } from "./departure.ts";
import type { Exchange } from "./exchange.ts";
import type { Content } from "./record.ts";
import { confirmRenewal, isConfirmationDue, isRenewalDue, renewInTime } from "./renewal.ts";
import { check } from "./session-content.ts";
import type { SessionState } from "./session-state.ts";

/** One session and the response that leaves with it. */
export interface Leaving {
  state: SessionState;
  exchange: Exchange;
  budget: Budget;
  browser: { hasCookie: boolean };
}

/** What there is to settle before the head leaves: what a save would write, encoded once for both; `undefined`: nothing known. */
export interface Change {
  content: Content | undefined;
}

/** Something to settle that only the save itself can tell. */
export const unknownChange: Change = { content: undefined };

/** What a session's save has to write; `undefined`: nothing. */
export function changeOf(state: SessionState): Change | undefined {
  if (state.isEndDue) return unknownChange;
  try {
    const content = state.change();
    return content && { content };
  } catch {
    // It can't be encoded: the save rejects with the reason.
    return unknownChange;
  }
}

/** Nothing to save: a touch where it is due, awaited only if the browser's cookie depends on it. */
export function leaveUnchanged(leaving: Leaving, mayTouch: boolean): Promise<void> | undefined {
  const { state, exchange, budget, browser } = leaving;
  // Extends the session as well: a touch of the old id beside it would find that gone.
  if (!exchange.headersSent && isRenewalDue(state)) return leaveRenewed(leaving);
  const isTouchDue = mayTouch && state.isTouchDue(state.context.store.now());
  // A touch that fails was reported by its event; the session lives on for the rest of its time.
  const touched = isTouchDue ? touch(state, budget).catch(() => false) : undefined;
  // In the background: what fails here is tried again by the next request.
  if (isConfirmationDue(state)) confirmRenewal(state, budget).catch(() => {});
  if (touched !== undefined && isPersistent(exchange, state)) {
    return touched.then(() => deliverCookie(exchange, state, browser));
  }
  deliverCookie(exchange, state, browser);
  return undefined;
}

/** Reports a change that can't be told by the response any more. */
export function noticeLate({ notices }: Context, error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  notices.once("HOLDFAST_LATE_SAVE", `a change made after the response had left was not saved: ${reason}`);
}

/** A rotation that fails was reported by its event: the session lives on under its old id. */
async function leaveRenewed({ state, exchange, budget, browser }: Leaving): Promise<void> {
  // A save on its way to the old id would be led on, behind who reads under the new one: a later request rotates.
  if (state.context.background.of(state.id) === undefined) await renewInTime(state, budget).catch(() => {});
  deliverCookie(exchange, state, browser);
}

/**
 * Begins a save that the response does not wait for; `undefined`: it must. Only changes of a session that the browser
 * has already: what begins, moves or ends one is always waited for, and so is what a persistent cookie depends on, and
 * a save when too many are under way.
 */
export function saveInBackground({ state, exchange, browser }: Leaving): Promise<void> | undefined {
  const { context } = state;
  const mayWait = context.options.commit === "background" && state.phase === "live" && !state.isEndDue;
  if (!mayWait || context.background.isFull || exchange.headersSent) return undefined;
  // Led on: the response brings another cookie, and until it has that the client comes with the old one again.
  if (state.isLedOn || state.isOwnChanged || !mayBeLate(state)) return undefined;
  if (isRenewalDue(state) || (state.isTouchDue(context.store.now()) && isPersistent(exchange, state))) return undefined;
  const budget = new Budget(context.options.storeTimeoutMs);
  const done = context.background.add(state.id, saveAndConfirm(state, budget));
  deliverCookie(exchange, state, browser);
  return done;
}

async function saveAndConfirm(state: SessionState, budget: Budget): Promise<void> {
  await save(state, budget);
  if (isConfirmationDue(state)) await confirmRenewal(state, budget);
}

/** A change that makes the session another user's moves it. */
function mayBeLate(state: SessionState): boolean {
  try {
    const { meta, text } = state.content();
    check(state.context, state.data, text);
    return meta.principal === state.baseline.meta.principal;
  } catch {
    // The response must say so.
    return false;
  }
}
