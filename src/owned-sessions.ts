/**
 * The sessions of one user: what the index names, looked up in the store. A name whose session is dead is dropped here
 * (the index heals by being read). Called by lists, revocation and limits; costs the same however many users there are.
 */
import type { Context } from "./context.ts";
import { Budget } from "./deadline.ts";
import { read } from "./following.ts";
import type { Description } from "./meta.ts";
import type { IndexEntry } from "./principal-index.ts";
import { mayBeWritten, prune } from "./principals.ts";
import { knownFrom } from "./session-content.ts";
import type { Stamps } from "./store.ts";

/** One of them. */
export interface OwnedSession extends Stamps {
  /** Its name in the index. */
  name: string;
  id: string;
  /** What `describe` said when it began, or at its last login. */
  by: Description | undefined;
}

/** What the names of a user came to. */
export interface Survey {
  live: OwnedSession[];
  /** Names whose record is being written, or is unreadable: they count, and nothing is known of them. */
  pending: IndexEntry[];
}

/** So many records are read at once. */
const batchSize = 100;

/** Looks up what `entries` name, and drops what is dead. @throws {SessionError} `ERR_SESSION_STORE…` */
export async function survey(
  context: Context,
  budget: Budget,
  principal: string,
  entries: readonly IndexEntry[],
): Promise<Survey> {
  const live: OwnedSession[] = [];
  const pending: IndexEntry[] = [];
  const dead: string[] = [];
  for (let from = 0; from < entries.length; from += batchSize) {
    const batch = entries.slice(from, from + batchSize);
    const found = await atOnce(context, budget, batch, (entry, each) => lookUp(context, each, principal, entry));
    for (const [at, entry] of batch.entries()) {
      const result = found[at];
      if (result === "dead") dead.push(entry.name);
      else if (result === "pending" || result === undefined) pending.push(entry);
      else live.push(result);
    }
  }
  // What it found is right whatever comes of this.
  if (dead.length > 0) await prune(context, budget, principal, dead).catch(() => {});
  return { live: live.filter((session) => !isOnItsWay(session, live)), pending };
}

/** Runs `work` on all items at once, within one wait of the budget. */
export function atOnce<T, R>(
  { options }: Context,
  budget: Budget,
  items: readonly T[],
  work: (item: T, budget: Budget) => Promise<R>,
): Promise<R[]> {
  return budget.spend(() => Promise.all(items.map((item) => work(item, new Budget(options.storeTimeoutMs)))));
}

async function lookUp(
  context: Context,
  budget: Budget,
  principal: string,
  entry: IndexEntry,
): Promise<OwnedSession | "dead" | "pending"> {
  const { id, name } = entry;
  const record = await read(context, budget, id);
  // Nothing there: never written (yet), or gone. An ended one is dead; what a rotation moved has another name by now.
  if (record === undefined) return mayBeWritten(context, entry) ? "pending" : "dead";
  if (record.kind === "moved") return mayBeWritten(context, entry) ? "pending" : "dead";
  if (record.kind === "ended") return "dead";
  if (record.kind === "garbage") return "pending";
  try {
    const { createdAt, touchedAt, expiresAt, absoluteExpiresAt, content } = knownFrom(context, id, record);
    if (content.meta.principal !== principal) return mayBeWritten(context, entry) ? "pending" : "dead";
    return { name, id, createdAt, touchedAt, expiresAt, absoluteExpiresAt, by: content.meta.by };
  } catch {
    return "pending";
  }
}

/** Whether it is about to replace another one that lives still: one session, under its earlier id. */
function isOnItsWay({ name }: OwnedSession, live: readonly OwnedSession[]): boolean {
  const [, replaced] = name.split("<", 2);
  return replaced !== undefined && replaced !== "" && live.some(({ id }) => id === replaced);
}
