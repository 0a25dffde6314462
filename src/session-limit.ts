/**
 * Entering a session into the index of its user, within `maxSessions`: where there are too many, some are ended first,
 * or the newcomer is refused. What may be is decided by the index in one step, so that no two logins both take the last
 * place; what must go is ended before its name is dropped, so that a crash leaves a name too many and never a session.
 */
import type { Context } from "./context.ts";
import type { Budget } from "./deadline.ts";
import { endRecord } from "./ending.ts";
import { SessionError } from "./errors.ts";
import { atOnce, type OwnedSession, type Survey, survey } from "./owned-sessions.ts";
import type { IndexEntry } from "./principal-index.ts";
import type { EvictableSession, LimitPolicy, SessionLimit } from "./principal-options.ts";
import { callIndex, forget, ownerOf, pendingMsOf, type SessionName } from "./principals.ts";

/**
 * Names a session that is about to be written. `beganAt`: when the operation that writes it did, by the store's clock.
 * @throws {SessionError} `ERR_SESSION_LIMIT`; `ERR_SESSION_GONE` where all sessions of the user were ended meanwhile;
 *   `ERR_SESSION_STORE…`
 */
export async function enter(context: Context, budget: Budget, name: SessionName, beganAt: number): Promise<void> {
  const { principal, ...rest } = name;
  const limit = context.options.maxSessions;
  const owner = ownerOf(principal);
  for (;;) {
    const until = context.store.now() + pendingMsOf(context);
    const entry = { ...rest, until, beganAt, ...(limit === undefined ? {} : { most: limit.most }) };
    const entered = await callIndex(context, budget, owner, (index, call) => index.enter(owner, entry, call));
    if (entered.outcome === "barred") throw barred();
    if (entered.outcome === "entered") {
      // Whoever logs in often and never lists: dead names go at least as fast as they come. Nobody waits for it.
      if (entered.sample.length > 0) survey(context, budget, principal, entered.sample).catch(() => {});
      return;
    }
    if (limit === undefined) throw new RangeError("full without a limit");
    await makeRoom(context, budget, principal, limit, entered.entries);
  }
}

async function makeRoom(
  context: Context,
  budget: Budget,
  principal: string,
  limit: SessionLimit,
  entries: readonly IndexEntry[],
): Promise<void> {
  const found = await survey(context, budget, principal, entries);
  const pending = found.pending.filter(({ name }) => !/<./.test(name));
  const surplus = found.live.length + pending.length - limit.most + 1;
  if (surplus <= 0) return;
  const victims = await chosen(limit.policy, found, pending, surplus);
  if (victims.length === 0) throw tooMany(limit.most);
  await atOnce(context, budget, victims, ({ id }, each) => endRecord(context, each, id, "evicted"));
  await forget(context, budget, principal, namesWith(victims, entries));
}

/** A name, and those of sessions that were about to take its place. */
function namesWith(victims: readonly { name: string }[], entries: readonly IndexEntry[]): string[] {
  const names = new Set(victims.map(({ name }) => name));
  return [...names, ...entries.map(({ name }) => name).filter((name) => names.has(name.split("<", 2)[1] ?? ""))];
}

async function chosen(
  policy: LimitPolicy,
  { live }: Survey,
  pending: readonly IndexEntry[],
  surplus: number,
): Promise<{ id: string; name: string }[]> {
  if (policy === "reject") return [];
  const oldestFirst = [...live].sort((a, b) => a.createdAt - b.createdAt);
  // Those that are being written are the youngest; in the order in which they were entered.
  const inOrder = [...oldestFirst, ...[...pending].sort((a, b) => a.until - b.until)];
  if (policy === "evict-oldest") return inOrder.slice(0, surplus);
  const ids = await policy(oldestFirst.map(toEvict));
  return inOrder.filter(({ id }) => ids.includes(id));
}

function toEvict({ id, createdAt, touchedAt, expiresAt, by }: OwnedSession): EvictableSession {
  return { id, createdAt, lastSeenAt: touchedAt, expiresAt, meta: by };
}

function barred(): SessionError {
  return new SessionError(
    "ERR_SESSION_GONE",
    "all sessions of this user were ended while this login was under way: log in again",
  );
}

function tooMany(most: number): SessionError {
  return new SessionError(
    "ERR_SESSION_LIMIT",
    `the user has ${most} sessions already (maxSessions): end one of them first (sessions.list, sessions.destroy), or choose "evict-oldest"`,
  );
}
