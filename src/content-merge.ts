/**
 * Merging what two requests made of one session: data key by key under the `onConflict` option, and what the session
 * keeps beside its data. Called where a write was refused, and where a rotation found a late save.
 */
import type { Data } from "./codec.ts";
import type { Context } from "./context.ts";
import { SessionError } from "./errors.ts";
import { type ConflictResolver, merge } from "./merge.ts";
import type { Content } from "./record.ts";
import { dataOf, encode } from "./session-state.ts";

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
  const read = (content: Content): Data => dataOf(context, content.text);
  const { data, conflicts } = merge(read(base), read(mine), read(theirs), context.codec, resolverFor(context));
  const { maxAge: _theirs, ...rest } = theirs.meta;
  const maxAge = mine.meta.maxAge === base.meta.maxAge ? theirs.meta.maxAge : mine.meta.maxAge;
  const meta = maxAge === undefined ? rest : { ...rest, maxAge };
  const text = encode(context, data);
  const isTheirs = text === theirs.text && maxAge === theirs.meta.maxAge;
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
