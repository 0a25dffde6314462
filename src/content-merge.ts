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
 * What changed from `base` to `mine`, on top of `theirs`.
 * @throws {SessionError} `ERR_SESSION_CONFLICT` where `onConflict` is `"reject"`; and whatever a resolver throws
 */
export function mergeContents(
  context: Context,
  base: Content,
  mine: Content,
  theirs: Content,
): { content: Content; conflicts: string[] } {
  const read = (content: Content): Data => dataOf(context, content);
  const { data, conflicts } = merge(read(base), read(mine), read(theirs), context.codec, resolverFor(context));
  const own = mergeOwn(base.meta, mine.meta, theirs.meta);
  const { meta, text } = contentOf(context, withOwn(theirs.meta, own), data);
  check(context, data, text);
  const isTheirs = text === theirs.text && isSameOwn(own, theirs.meta);
  return { content: isTheirs ? theirs : { meta, text }, conflicts };
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
