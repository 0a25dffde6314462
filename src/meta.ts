/**
 * What a session keeps beside its data, in the first line of its record. Some of it is the session's own, which a request
 * changes and saves like data (`ownKeys`); the rest is noted by timed rotation. Read and written by record.ts; merged
 * where two requests changed it.
 */

/** Who came with a session, by the `describe` option: a few short strings, such as an address and a user agent. */
export type Description = Readonly<Record<string, string>>;

/** What a session keeps beside its data. Times are epoch ms by the store's clock. */
export interface Meta {
  /** `session.cookie.maxAge` of this session alone: ms, or `null` for a browser-session cookie; absent: the option's. */
  readonly maxAge?: number | null;
  /** `session.expire({ idle })`: ms; absent: `maxAge`, or the option's. */
  readonly idle?: number;
  /** `session.expire({ absolute })`: ms from `createdAt`; absent: the option's. */
  readonly absolute?: number;
  /** When its user last logged in: `renew()` or `regenerate()`; absent: never. */
  readonly loginAt?: number;
  /** Who made it, or last logged in with it. */
  readonly by?: Description;
  /** Whose session it is, and under whom an index names it; absent: nobody's. */
  readonly principal?: string;
  /** The `version` option of the engine that wrote the data; absent: 0. */
  readonly v?: number;
  /** When a timed rotation last gave it a new id. */
  readonly renewedAt?: number;
  /** The public id that it had before, until the new one was first presented. */
  readonly from?: string;
}

/** What belongs to the session rather than to its id: it goes along at `renew()`, and a change of it is saved. */
export const ownKeys = ["maxAge", "idle", "absolute", "loginAt", "by", "principal"] as const;

/** One of `ownKeys`. */
export type OwnKey = (typeof ownKeys)[number];

/** The part of a meta that is the session's own. */
export type OwnMeta = Pick<Meta, OwnKey>;

/** `rest` with the own keys of `own`, and no others. */
export function withOwn(rest: Meta, own: OwnMeta): Meta {
  const meta: Record<string, unknown> = { ...rest };
  for (const key of ownKeys) {
    if (own[key] === undefined) delete meta[key];
    else meta[key] = own[key];
  }
  // Each key above has the value that it has in `own`.
  return meta as Meta;
}

/** `meta` of a session that is `principal`'s; `undefined`: nobody's, and so no login counts any more. */
export function ownedBy(meta: Meta, principal: string | undefined): Meta {
  if (meta.principal === principal) return meta;
  if (principal !== undefined) return { ...meta, principal };
  const { principal: _earlier, loginAt: _login, ...rest } = meta;
  return rest;
}

/** Whether two agree in all that is the session's own. */
export function isSameOwn(one: OwnMeta, other: OwnMeta): boolean {
  return one === other || ownKeys.every((key) => one[key] === other[key]);
}

/** The own keys of `theirs`, but where `mine` changed them from `base`. */
export function mergeOwn(base: OwnMeta, mine: OwnMeta, theirs: OwnMeta): OwnMeta {
  if (isSameOwn(base, mine)) return theirs;
  const merged: Record<string, unknown> = {};
  for (const key of ownKeys) merged[key] = mine[key] === base[key] ? theirs[key] : mine[key];
  // Values of the three, under their own keys; `undefined` reads as absent everywhere.
  return merged as OwnMeta;
}

/** A meta from the line that holds it; throws on what `JSON.stringify` of one can't have made. */
export function readMeta(line: string): Meta {
  const meta = parsed(line);
  if (typeof meta !== "object" || meta === null) throw new SyntaxError("the payload's first line is no object");
  const given = meta as Record<keyof Meta, unknown>; // each is checked below
  if (given.by !== undefined && !isDescription(given.by)) throw new SyntaxError("the payload's by is no description");
  if (given.from !== undefined && typeof given.from !== "string") throw new SyntaxError("the payload's from is no id");
  if (given.principal !== undefined && typeof given.principal !== "string") {
    throw new SyntaxError("the payload's principal is no text");
  }
  for (const key of ["maxAge", "idle", "absolute", "loginAt", "v", "renewedAt"] as const) {
    const isNone = given[key] === undefined || (key === "maxAge" && given[key] === null);
    if (!isNone && !isPositive(given[key])) throw new SyntaxError(`the payload's ${key} is no duration or time`);
  }
  return given as Meta; // as checked
}

/** Whether a value is a description: an object of strings. */
export function isDescription(value: unknown): value is Description {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((text) => typeof text === "string");
}

/** Without V8's message, which quotes the text. */
function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new SyntaxError("the payload's first line is no JSON");
  }
}

function isPositive(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value > 0;
}
