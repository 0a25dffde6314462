/**
 * "Your devices": a user's sessions listed, one of them ended, all others ended. Called by the engine; the sessions that
 * requests hold are elsewhere, and learn of it at their next read.
 */
import type { Context } from "./context.ts";
import { tombstoneMs } from "./context.ts";
import type { Budget } from "./deadline.ts";
import { end, endRecord, principalIn } from "./ending.ts";
import { SessionError } from "./errors.ts";
import { readById } from "./following.ts";
import type { Description } from "./meta.ts";
import { atOnce, type OwnedSession, survey } from "./owned-sessions.ts";
import type { IndexEntry } from "./principal-index.ts";
import { callIndex, forget, ownerOf, principalOf } from "./principals.ts";

/** One of a user's sessions. Times are epoch ms by the store's clock. */
export interface ListedSession {
  /** Public id: what `sessions.destroy` takes. */
  id: string;
  /** When it began, or was last renewed by a login. */
  createdAt: number;
  /** Its last save or touch: as exact as `touchInterval`. */
  lastSeenAt: number;
  expiresAt: number;
  absoluteExpiresAt: number | null;
  /** Whether it is the one that was given as `current`. */
  isCurrent: boolean;
  /** What the option `describe` said when it began, or at its last login; `undefined`: nothing. */
  meta: Description | undefined;
}

/** The live sessions of a user, the last seen first. @throws {SessionError} `ERR_SESSION_STORE…` */
export async function list(
  context: Context,
  budget: Budget,
  user: string | number,
  current: SessionOrId | undefined,
): Promise<ListedSession[]> {
  const principal = nameOf(user);
  const owner = ownerOf(principal);
  const entries = await callIndex(context, budget, owner, (index, call) => index.list(owner, call));
  const { live } = await survey(context, budget, principal, entries);
  return live.sort((a, b) => b.touchedAt - a.touchedAt).map((session) => listed(session, current && idOf(current)));
}

function listed({ id, touchedAt, by, ...times }: OwnedSession, current: string | undefined): ListedSession {
  const { createdAt, expiresAt, absoluteExpiresAt } = times;
  return { id, createdAt, lastSeenAt: touchedAt, expiresAt, absoluteExpiresAt, isCurrent: id === current, meta: by };
}

/**
 * Ends a session; `principal`: only if it is that user's. Resolves to whether it ended a live one.
 * @throws {SessionError} `ERR_SESSION_STORE…`
 */
export async function endOne(
  context: Context,
  budget: Budget,
  id: string,
  user: string | number | undefined,
): Promise<boolean> {
  if (user !== undefined) {
    const principal = nameOf(user);
    const found = await readById(context, budget, id);
    if (found.record?.kind !== "live" || principalIn(context, found.id, found.record) !== principal) return false;
  }
  const { record } = await end(context, budget, id, "revoked");
  return record?.kind === "live";
}

/**
 * Ends all sessions of a user but `except`, also those whose login is under way. Resolves to how many were alive.
 * @throws {SessionError} `ERR_SESSION_STORE…`: the others were ended all the same; call it again
 */
export async function endAll(
  context: Context,
  budget: Budget,
  user: string | number,
  except: SessionOrId | undefined,
): Promise<number> {
  const principal = nameOf(user);
  const owner = ownerOf(principal);
  const spared = except === undefined ? undefined : (await readById(context, budget, idOf(except))).id;
  const until = context.store.now() + Math.max(tombstoneMs, 2 * context.options.storeTimeoutMs);
  const bar = { until, ...(spared === undefined ? {} : { except: spared }) };
  // From here on no login that had begun gets a name; those that have one are in the list.
  const entries = await callIndex(context, budget, owner, (index, call) => index.bar(owner, bar, call));
  const spares = await sparedNames(context, budget, spared, entries);
  const victims = entries.filter(({ name }) => !spares.has(name));
  const results = await atOnce(context, budget, victims, ({ id }, each) =>
    endRecord(context, each, id, "revoked").catch((error: unknown) => ({ error })),
  );
  const ended = victims.filter((_, at) => !("error" in (results[at] ?? {})));
  await forget(
    context,
    budget,
    principal,
    ended.map(({ name }) => name),
  );
  for (const result of results) if ("error" in result) throw result.error;
  return results.filter((result) => "record" in result && result.record?.kind === "live").length;
}

/** The names of a session that is to be spared: its own, and one that is about to replace it, or just has. */
async function sparedNames(
  context: Context,
  budget: Budget,
  spared: string | undefined,
  entries: readonly IndexEntry[],
): Promise<Set<string>> {
  if (spared === undefined) return new Set();
  const isNamed = entries.some(({ id }) => id === spared);
  // A timed rotation between the look before and the list.
  const id = isNamed ? spared : (await readById(context, budget, spared)).id;
  return new Set(entries.filter((entry) => entry.id === id || entry.name.endsWith(`<${id}`)).map(({ name }) => name));
}

/** A session, or its public id. */
type SessionOrId = { readonly id: string } | string;

/** The public id. */
export function idOf(session: SessionOrId): string {
  return typeof session === "string" ? session : session.id;
}

/** @throws {SessionError} `ERR_SESSION_PRINCIPAL` where it is nobody */
function nameOf(principal: unknown): string {
  const name = principalOf(principal);
  if (name !== undefined) return name;
  throw new SessionError("ERR_SESSION_PRINCIPAL", `the principal is ${String(principal)}: give the user's id`);
}
