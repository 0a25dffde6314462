/**
 * The one error class of the package. A lost race is an outcome and a bad cookie is a new session: neither is an
 * error. What is one says what was received and what to do.
 */

/**
 * Everything that can go wrong, for `switch (error.code)`.
 *
 * | code | status | when |
 * |---|---|---|
 * | `ERR_SESSION_OPTION` | 500 | an option is wrong; thrown at start-up only |
 * | `ERR_SESSION_STORE` | 503 | the store could not be reached or refused service |
 * | `ERR_SESSION_STORE_TIMEOUT` | 503 | the store did not answer, or a save did not win, within `storeTimeout` |
 * | `ERR_SESSION_STORE_FULL` | 503 | a bounded `memoryStore()` holds as many live sessions as it may |
 * | `ERR_SESSION_CLOSED` | 503 | a request that came after `sessions.close()` would have begun a session |
 * | `ERR_SESSION_UNCONFIRMED` | 503 | the store has the write, but fewer replicas confirmed it than `durability` asks for |
 * | `ERR_SESSION_NOT_LOADED` | 500 | `load: "lazy"` and the session was used before `await sessionOf(req)` |
 * | `ERR_SESSION_NO_SESSION` | 500 | `sessionOf(req)` on a request that no adapter has seen, or that `skip` left out |
 * | `ERR_SESSION_GONE` | 401 | `update()` or `reload()` on a session that has ended |
 * | `ERR_SESSION_CONFLICT` | 409 | `onConflict: "reject"` and somebody else changed the same key |
 * | `ERR_SESSION_UNKNOWN_OUTCOME` | 503 | the store's answer to a change was lost, and whether it was stored can't be told |
 * | `ERR_SESSION_TOO_LARGE` | 500 | the record would be larger than `maxRecordSize` |
 * | `ERR_SESSION_RESERVED_KEY` | 500 | a data key has the name of a member of the session |
 * | `ERR_SESSION_VALUE` | 500 | a value cannot be stored (Map, BigInt, function, circular, …) |
 * | `ERR_SESSION_ASSIGN` | 500 | something other than `null` or an object was assigned to the session property |
 * | `ERR_SESSION_COOKIE` | 500 | `session.cookie.maxAge` or `.expires` was set to something unusable |
 * | `ERR_SESSION_SCHEMA` | 500 | the data are not what the `schema` option says |
 * | `ERR_SESSION_EXPIRE` | 500 | `session.expire()` was called with something that is no lifetime |
 * | `ERR_SESSION_NOT_FRESH` | 401 | `requireFresh()`: the last login is too long ago, or there was none |
 * | `ERR_SESSION_DESCRIBE` | 500 | `describe` or `onAnomaly` threw, or returned something of no use |
 * | `ERR_SESSION_UPDATE` | 500 | `update(fn)`: `fn` is no function, or returned a promise |
 * | `ERR_SESSION_PRINCIPAL` | 500 | `principal` gave no text or number, or the store can't list sessions |
 * | `ERR_SESSION_LIMIT` | 409 | the user has `maxSessions` sessions already, and none is to make room |
 * | `ERR_SESSION_ID` | 500 | `genId` returned something that is no safe id |
 */
export type SessionErrorCode =
  | "ERR_SESSION_OPTION"
  | "ERR_SESSION_STORE"
  | "ERR_SESSION_STORE_TIMEOUT"
  | "ERR_SESSION_STORE_FULL"
  | "ERR_SESSION_CLOSED"
  | "ERR_SESSION_UNCONFIRMED"
  | "ERR_SESSION_NOT_LOADED"
  | "ERR_SESSION_NO_SESSION"
  | "ERR_SESSION_GONE"
  | "ERR_SESSION_CONFLICT"
  | "ERR_SESSION_UNKNOWN_OUTCOME"
  | "ERR_SESSION_TOO_LARGE"
  | "ERR_SESSION_RESERVED_KEY"
  | "ERR_SESSION_VALUE"
  | "ERR_SESSION_ASSIGN"
  | "ERR_SESSION_COOKIE"
  | "ERR_SESSION_SCHEMA"
  | "ERR_SESSION_EXPIRE"
  | "ERR_SESSION_NOT_FRESH"
  | "ERR_SESSION_DESCRIBE"
  | "ERR_SESSION_UPDATE"
  | "ERR_SESSION_ID"
  | "ERR_SESSION_PRINCIPAL"
  | "ERR_SESSION_LIMIT";

const unavailable: ReadonlySet<SessionErrorCode> = new Set<SessionErrorCode>([
  "ERR_SESSION_STORE",
  "ERR_SESSION_STORE_TIMEOUT",
  "ERR_SESSION_STORE_FULL",
  "ERR_SESSION_CLOSED",
  "ERR_SESSION_UNCONFIRMED",
  "ERR_SESSION_UNKNOWN_OUTCOME",
]);

/** Seconds for `Retry-After` on a 503 (RFC 9110 §10.2.3). */
const retryAfterSeconds = "1";

/** Every error that holdfast throws or rejects with. */
export class SessionError extends Error {
  override readonly name = "SessionError";
  /** What went wrong. */
  readonly code: SessionErrorCode;
  /** The HTTP status that answers it; Express and Koa read this name. */
  readonly status: number;
  /** The same as `status`; Fastify reads this name. */
  readonly statusCode: number;
  /** The message is for the log, not for the client; with this NestJS knows the error as an HTTP one. */
  readonly expose = false;
  /** Headers for the answer (`retry-after` on a 503); Express, Koa and Fastify send them with the error. */
  readonly headers?: Record<string, string>;

  constructor(code: SessionErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.status = statusOf(code);
    this.statusCode = this.status;
    if (this.status === 503) this.headers = { "retry-after": retryAfterSeconds };
  }
}

function statusOf(code: SessionErrorCode): number {
  if (unavailable.has(code)) return 503;
  if (code === "ERR_SESSION_GONE" || code === "ERR_SESSION_NOT_FRESH") return 401;
  return code === "ERR_SESSION_CONFLICT" || code === "ERR_SESSION_LIMIT" ? 409 : 500;
}

/** There is no session where one was asked for. */
export function noSession(cause: string): SessionError {
  return new SessionError("ERR_SESSION_NO_SESSION", `there is no session: ${cause}`);
}
