/**
 * Whose session it is, and its name in that user's index. The engine's side of the index port: names before records,
 * refreshed now and then so that one that was lost comes back. Knows no session and no request; who ends sessions to
 * make room is `session-limit.ts`.
 */
import { hash } from "node:crypto";
import type { Context } from "./context.ts";
import type { Budget } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import type { PrincipalIndex } from "./principal-index.ts";
import type { Stamps, StoreCall } from "./store.ts";

/** Longer than any write that is still under way, and than a tombstone's reader may be late. */
const writingMs = 10_000;
/** Names a session of no absolute deadline longer than its idle one: a touch whose refresh failed loses nothing. */
const idleSlackMs = 60_000;
const longestPrincipal = 512;

/**
 * The name of a user, from what an app gave: a text, or a number (an id of a database); `undefined` or `null`: nobody.
 * @throws {SessionError} `ERR_SESSION_PRINCIPAL`
 */
export function principalOf(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  const name = typeof value === "number" || typeof value === "bigint" ? String(value) : value;
  if (typeof name === "string" && name.length > 0 && name.length <= longestPrincipal) return name;
  const received = typeof name === "string" ? `a text of ${name.length} characters` : `a ${typeof name}`;
  throw new SessionError(
    "ERR_SESSION_PRINCIPAL",
    `the principal is ${received}: give a text of 1 to ${longestPrincipal} characters or a number, such as the user's id, or undefined for nobody`,
  );
}

/** What stands for a user in the index: a digest, as key names end in logs and dumps, and a user's name may be an address. */
export function ownerOf(principal: string): string {
  return hash("sha256", `holdfast principal\0${principal}`, "base64url");
}

/** How long a name stays that is not confirmed: until the first touch of its session, if need be. */
export function pendingMsOf({ options }: Context): number {
  return writingMs + 2 * options.touchIntervalMs;
}

/** Whether the record of a name may be on its way still: it was entered a moment ago. */
export function mayBeWritten(
  context: Context,
  { until, isConfirmed }: { until: number; isConfirmed: boolean },
): boolean {
  return !isConfirmed && until - context.store.now() > pendingMsOf(context) - writingMs;
}

/** When the name of a session lapses. */
function lapseOf({ options }: Context, { expiresAt, absoluteExpiresAt }: Stamps): number {
  // The absolute deadline is known from the beginning: no touch has to move it. Idle ones are found dead when read.
  return absoluteExpiresAt ?? expiresAt + options.touchIntervalMs + idleSlackMs;
}

/** Notes until when a name stands, and when this process sees next to it; resolves to the former. */
function noteName(context: Context, id: string, stamps: Stamps): number {
  const until = lapseOf(context, stamps);
  context.refreshDue.set(id, { at: context.store.now() + refreshEveryMs(context, stamps), until });
  return until;
}

/**
 * Calls the index.
 * @throws {SessionError} `ERR_SESSION_PRINCIPAL` where the store has none; `ERR_SESSION_STORE…`, reported as `storeError`
 */
export async function callIndex<T>(
  context: Context,
  budget: Budget,
  owner: string,
  verb: (index: PrincipalIndex, call: StoreCall) => Promise<T>,
): Promise<T> {
  const { principals, breakers, events, inFlight } = context;
  if (principals === undefined) throw noIndex();
  try {
    const asked = breakers
      .of("write", `p:{${owner}}`)
      .run(() => budget.spend((deadline) => verb(principals, { deadline, durable: true })));
    return await inFlight.during(asked);
  } catch (error) {
    // The budget turns every failure of a store into this class. No id: a user's digest is nobody's business.
    if (error instanceof SessionError) events.emit("storeError", { operation: "index", error });
    throw error;
  }
}

/** What a principal is refused with on a store that can't list sessions. */
export function noIndex(): SessionError {
  return new SessionError(
    "ERR_SESSION_PRINCIPAL",
    "the store can't list a user's sessions (it has no `principals`): use redisStore or memoryStore, or give your store a PrincipalIndex",
  );
}

/** A session's name in the index of its user. */
export interface SessionName {
  principal: string;
  id: string;
  replaces?: string;
}

/** The session was written: its name stays. `false`: it was ended meanwhile, and must not live. */
export function confirm(context: Context, budget: Budget, name: SessionName, stamps: Stamps): Promise<boolean> {
  const { principal, ...entry } = name;
  const until = noteName(context, name.id, stamps);
  return callIndex(context, budget, ownerOf(principal), (index, call) =>
    index.confirm(ownerOf(principal), { ...entry, until }, call),
  );
}

/** Drops names of sessions that were found dead. */
export function prune(context: Context, budget: Budget, principal: string, names: readonly string[]): Promise<void> {
  const owner = ownerOf(principal);
  return callIndex(context, budget, owner, (index, call) => index.prune(owner, names, call));
}

/** Drops names of sessions that were ended. */
export function forget(context: Context, budget: Budget, principal: string, names: readonly string[]): Promise<void> {
  const owner = ownerOf(principal);
  return callIndex(context, budget, owner, (index, call) => index.remove(owner, names, call));
}

/**
 * After a session lived on (touched or saved): its name with it, where this process has not seen to that for a while.
 * Never rejects, and nobody waits for it; the next touch tries again.
 */
export function refresh(context: Context, budget: Budget, id: string, principal: string, stamps: Stamps): void {
  if (context.principals === undefined) return;
  const noted = context.refreshDue.get(id);
  const livesUntil = stamps.absoluteExpiresAt ?? stamps.expiresAt;
  // A session that was given longer timeouts outlives its name, unless that is told at once.
  if (noted !== undefined && context.store.now() < noted.at && livesUntil <= noted.until) return;
  const until = noteName(context, id, stamps);
  const owner = ownerOf(principal);
  callIndex(context, budget, owner, (index, call) => index.refresh(owner, { id, until }, call)).catch(() =>
    context.refreshDue.delete(id),
  );
}

/** With an absolute deadline only to bring back what was lost; without one, as often as the session is touched. */
function refreshEveryMs({ options }: Context, { absoluteExpiresAt }: Stamps): number {
  return Math.max(
    1,
    absoluteExpiresAt === null ? Math.floor(options.touchIntervalMs / 2) : Math.floor(options.ttlMs / 2),
  );
}
