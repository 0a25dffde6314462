/**
 * From the request's cookie to the record in the store: parse, verify, hash, read. Says why a request has no session
 * (`NODE_DEBUG=holdfast`, and the `rejected` event). Makes no session and touches no response.
 */
import { debuglog } from "node:util";
import type { Context } from "./context.ts";
import { readCookies } from "./cookie.ts";
import type { Budget } from "./deadline.ts";
import type { SessionError } from "./errors.ts";
import type { RejectReason } from "./events.ts";
import type { Exchange } from "./exchange.ts";
import { readFollowing } from "./following.ts";
import type { Candidate } from "./known-cookies.ts";
import type { SessionState } from "./session-state.ts";
import type { EndReason, LiveRecord } from "./store.ts";

const debug = debuglog("holdfast");

/** What a request brought. */
export type Arrival =
  | { kind: "none" }
  | {
      kind: "live";
      /** The public id of `secret`. */
      id: string;
      secret: string;
      /** The cookie is signed by an older key, or names another node's route: it is due again. */
      isOutdated: boolean;
      record: LiveRecord;
      /** The cookie names an id that a timed rotation has replaced. */
      isLedOn: boolean;
      /** The record taken apart, where that was needed before anybody looked at the session. */
      state?: SessionState;
    }
  /** Its own browser ended or rotated it a moment ago: only a login may begin a session here. */
  | { kind: "ended"; secret: string; reason: EndReason }
  /** The store could not say, and `onStoreError` is `"anonymous"`. */
  | { kind: "degraded"; failure: SessionError };

/** A request without a session; one for all, as it says nothing of any. */
export const noArrival: Arrival = Object.freeze({ kind: "none" });

/** Why a session is empty, on `NODE_DEBUG=holdfast` and in the framework's log; the id is the public one. */
export function explainEmpty(exchange: Exchange, reason: string, id?: string): void {
  exchange.explain?.(reason, id);
  if (id === undefined) debug("empty session: %s", reason);
  else debug("empty session: %s (id %s)", reason, id);
}

/** What a request without any cookie brought: most requests of most visitors, so one for all of them. */
const noCookies: { candidates: readonly Candidate[]; hasCookie: boolean } = Object.freeze({
  candidates: Object.freeze([]),
  hasCookie: false,
});

/** The cookies that are signed by one of our keys, in order. An empty list costs no store call. */
export function candidatesOf(
  context: Context,
  exchange: Exchange,
): { candidates: readonly Candidate[]; hasCookie: boolean } {
  const { cookieHeader } = exchange;
  if (cookieHeader === undefined) {
    explainEmpty(exchange, "no cookie");
    return noCookies;
  }
  const { cookie } = context.options;
  const values = readCookies(cookieHeader, cookie.name);
  const candidates: Candidate[] = [];
  for (const value of values) {
    const verified = context.cookies.verify(value);
    if ("secret" in verified) candidates.push(verified);
    else reject(context, exchange, verified.reason);
  }
  if (values.length === 0) {
    explainEmpty(exchange, "no cookie");
    noticeOtherName(context, exchange);
  }
  return { candidates, hasCookie: values.length > 0 };
}

/** The same without waiting, where the store keeps a copy; `undefined`: look up. */
export function lookUpAtOnce(context: Context, candidates: readonly Candidate[]): Arrival | undefined {
  const { store, background } = context;
  const [candidate] = candidates;
  if (store.peek === undefined || background.size > 0 || candidate === undefined) return undefined;
  const { id, secret, isOutdated } = candidate;
  const record = store.peek(id);
  return record && { kind: "live", id, secret, isOutdated, record, isLedOn: false };
}

/** Reads the candidates until one is alive. @throws {SessionError} `ERR_SESSION_STORE…` */
export async function lookUp(
  context: Context,
  budget: Budget,
  exchange: Exchange,
  candidates: readonly Candidate[],
): Promise<Arrival> {
  let ended: Arrival | undefined;
  for (const candidate of candidates) {
    const { isOutdated } = candidate;
    const { secret, id, record, isLedOn } = await readFollowing(context, budget, candidate);
    if (record?.kind === "live") return { kind: "live", id, secret, isOutdated, record, isLedOn };
    if (record === undefined) reject(context, exchange, "unknown", { id });
    else if (record.kind === "garbage") reject(context, exchange, "garbage", { id, detail: record.detail });
    else {
      const reason = record.kind === "moved" ? "renewed" : record.reason;
      explainEmpty(exchange, reason === "expired" ? "expired" : `ended (${reason})`, id);
      if (isOwnEnd(reason)) ended ??= { kind: "ended", secret, reason };
    }
  }
  return ended ?? { kind: "none" };
}

/** What is known of a cookie that is not a session; `issues`: paths that the schema refuses. */
interface Rejected {
  id?: string;
  detail?: string;
  issues?: readonly string[] | undefined;
}

/** Reports a cookie that is not a session. */
export function reject(context: Context, exchange: Exchange, reason: RejectReason, rejected: Rejected = {}): void {
  const { id, detail, issues } = rejected;
  explainEmpty(exchange, detail === undefined ? reason.replace("-", " ") : `${reason}: ${detail}`, id);
  const { address } = exchange;
  context.suspicion.note(reason, address);
  context.events.emit("rejected", {
    reason,
    ...(id === undefined ? {} : { id }),
    ...(address === undefined ? {} : { address }),
    ...(issues === undefined ? {} : { issues }),
  });
}

/** Logged out or rotated by its own browser; ended from elsewhere or expired, the cookie is as good as none. */
function isOwnEnd(reason: EndReason): boolean {
  return reason === "logout" || reason === "rotated" || reason === "renewed";
}

/** Nodes that disagree about `secure` or `domain` use different default names: sessions seem to vanish. */
function noticeOtherName(context: Context, exchange: Exchange): void {
  const { name, otherName } = context.options.cookie;
  if (otherName === undefined || !exchange.cookieHeader?.includes(otherName)) return;
  const isSigned = readCookies(exchange.cookieHeader, otherName).some(
    (value) => "secret" in context.cookies.verify(value),
  );
  if (!isSigned) return;
  context.notices.once(
    "HOLDFAST_COOKIE_NAME",
    `a request carried a signed session cookie named "${otherName}", but this node's is "${name}": give all nodes the same cookie options (secure, domain, path), or set cookie.name`,
  );
}
