/**
 * Merging what two requests made of one session: data key by key under the `onConflict` option, and what the session
 * keeps beside its data. Called where a write was refused, and where a rotation found a late save.
 */
import type { Data } from "./codec.ts";
import type { Context } from "./context.ts";
import { SessionError } from "./errors.ts";
import { type ConflictResolver, merge } from "./merge.ts";
import { isSameOwn, mergeOwn, withOwn } from "./meta.ts";
import type { Content } from "./record.ts";
import { check, contentOf, dataOf } from "./session-content.ts";

/**
 * What changed from `base` to `mine`, on top of `theirs`; `undefined`: that has ended, so that nobody disagrees.
 * @throws {SessionError} `ERR_SESSION_CONFLICT` where `onConflict` is `"reject"`; and whatever a resolver throws
 */
export function mergeContents(
  context: Context,
  base: Content,
  mine: Content,
  theirs: Content | undefined,
): { content: Content; conflicts: string[] } {
  const read = (content: Content): Data => dataOf(context, content);
  const standing = theirs ?? { meta: {}, text: context.emptyText };
  const resolve = theirs === undefined ? undefined : resolverFor(context);
  const { data, conflicts } = merge(read(base), read(mine), read(standing), context.codec, resolve);
  const own = mergeOwn(base.meta, mine.meta, standing.meta);
  const { meta, text } = contentOf(context, withOwn(standing.meta, own), data);
  check(context, data, text);
  const isTheirs = text === standing.text && isSameOwn(own, standing.meta);
  return { content: isTheirs ? standing : { meta, text }, conflicts: theirs === undefined ? [] : conflicts };
}

/** Tells of a change that was stored on top of somebody else's. */
export function reportMerge({ events }: Context, id: string, conflicts: string[]): void {
  for (const key of conflicts) events.emit("conflict", { id, key });
  events.emit("merged", { id, conflicts });
}

function resolverFor({ options }: Context): ConflictResolver | undefined {
  return options.onConflict === "reject" ? rejectConflict : options.onConflict;
}

function rejectConflict(key: string): never {
  throw new SessionError(
    "ERR_SESSION_CONFLICT",
    `session[${JSON.stringify(key)}] was changed by another request at the same time, and onConflict is "reject": read again (session.reload()) and repeat the change, or use session.update(fn)`,
  );
}
