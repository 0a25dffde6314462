/**
 * How long a session lives: idle and absolute deadline, from the options and from what this session has of its own
 * (`cookie.maxAge`, `expire()`). Computed when a record is written, and shown to the app; enforced by the store.
 */
import type { Context } from "./context.ts";
import { SessionError } from "./errors.ts";
import type { OwnMeta } from "./meta.ts";
import { type Duration, millisecondsOf, show } from "./option-checks.ts";
import type { Known } from "./record.ts";

/** What `session.expire()` takes; `null`: what the options say, left out: as it was. */
export interface Lifetimes {
  /** From the last activity. */
  idle?: Duration | null;
  /** From creation or the last login. */
  absolute?: Duration | null;
}

/** The earlier of both deadlines. */
export function cut(expiresAt: number, absoluteExpiresAt: number | null): number {
  return absoluteExpiresAt === null ? expiresAt : Math.min(expiresAt, absoluteExpiresAt);
}

/** The idle lifetime in ms of a session with `own`. */
export function idleMsOf({ options }: Context, own: OwnMeta): number {
  return own.idle ?? own.maxAge ?? options.ttlMs;
}

/**
 * The absolute deadline of a session with `own`, counted from creation or the last login, so that who sets it on each
 * request does not move it. One that has passed already ends the session in a moment, by its record.
 */
export function absoluteDeadline(context: Context, known: Known | undefined, own: OwnMeta, now: number): number | null {
  // What the options said when it was created stands, unless this session has a lifetime of its own.
  if (known !== undefined && known.content.meta.absolute === own.absolute) return known.absoluteExpiresAt;
  const lifetime = own.absolute ?? context.options.absoluteTimeoutMs;
  return lifetime === null ? null : Math.max(now + 1, (known?.createdAt ?? now) + lifetime);
}

/** The idle deadline as stored, or as a save would store it now where this request changed the lifetime. */
export function idleDeadline(context: Context, known: Known | undefined, own: OwnMeta): number {
  const now = context.store.now();
  const before = known?.content.meta;
  const isStored = before !== undefined && before.maxAge === own.maxAge && before.idle === own.idle;
  const expiresAt = isStored && known !== undefined ? known.expiresAt : now + idleMsOf(context, own);
  return cut(expiresAt, absoluteDeadline(context, known, own, now));
}

/**
 * What a session keeps of `expire()`'s argument.
 * @throws {SessionError} `ERR_SESSION_EXPIRE`
 */
export function lifetimesOf(given: Lifetimes): { idle?: number | undefined; absolute?: number | undefined } {
  if (typeof given !== "object" || given === null) refuse(`received ${show(given)}; write { idle, absolute }`);
  const { idle, absolute, ...rest } = given;
  const unknown = Object.keys(rest);
  if (unknown.length > 0) refuse(`received ${unknown.join(", ")}; write { idle, absolute }`);
  return {
    ...(idle === undefined ? {} : { idle: toMs("idle", idle) }),
    ...(absolute === undefined ? {} : { absolute: toMs("absolute", absolute) }),
  };
}

function toMs(name: string, value: Duration | null): number | undefined {
  if (value === null) return undefined;
  const amount = millisecondsOf(value, 1);
  return amount ?? refuse(`${name}: received ${show(value)}; write milliseconds, a string such as "8h", or null`);
}

function refuse(what: string): never {
  throw new SessionError("ERR_SESSION_EXPIRE", `session.expire(): ${what}`);
}
