/**
 * The record as it stands in Redis: one string per session, a 69-byte ASCII header and the payload. Encodes and
 * parses; knows no connection and no clock. `redis.ts` calls it; the scripts read the same offsets in Lua.
 *
 * ```
 * byte   0  2  "H1"     format revision: "H" and one of 0-9, A-Z
 *        2  1  kind     L live, M moved, E ended (a tombstone)
 *        3  6  key      the last six characters of the record's own key
 *        9 24  tokens   the last three version tokens, newest first, 8 base64url characters each; "AAAAAAAA": none
 *       33  9  created  createdAt          \
 *       42  9  touched  touchedAt           | epoch ms in base 36; a tombstone's `expires` is when it goes away,
 *       51  9  expires  expiresAt           | its `absolute` is zeros, as where there is no absolute deadline
 *       60  9  absolute absoluteExpiresAt  /
 *       69  …  payload  the bytes of a live or moved record; of a tombstone its reason, in letters, and after a space
 *                       the header of the live record that it replaced, or the whole moved one
 * ```
 *
 * Bytes 0 to 8 mean the same in every revision to come: a node that meets a newer one must leave it alone, and can
 * still tell that it is one. The key's characters are there so that an answer that belongs to another request (a
 * connection out of step) is never taken for this session.
 */
import { SessionError } from "../errors.ts";
import type { EndReason, NewRecord, Stamps, StoreRecord } from "../store.ts";

/** Length of the header in bytes. */
export const headerLength: 69 = 69;

/** Length of one version token. */
export const tokenLength: 8 = 8;

/** The latest time that nine base-36 digits hold: the year 5188. Later deadlines are cut to it. */
export const latestTime: number = 36 ** 9 - 1;

const headerPattern = /^H1[LME][\w-]{30}[0-9a-z]{36}$/;
const revisionPattern = /^H[0-9A-Z]/;
const notInHeader = /[^\w-]/g;
const noToken = "AAAAAAAA";
const noTime = "000000000";
const endReasons: ReadonlySet<string> = new Set<EndReason>([
  "logout",
  "rotated",
  "renewed",
  "revoked",
  "evicted",
  "expired",
]);

/**
 * Whether a record carries the token of a write among its last three. One that was to replace it, and whose own token
 * isn't there as well, was never applied.
 */
export function carries(raw: Buffer | undefined, token: string): boolean {
  return [9, 17, 25].some((at) => raw?.toString("latin1", at, at + tokenLength) === token);
}

/** The six characters by which a record names its key. What is not base64url, or missing, is `_`. */
export function keyMark(key: string): string {
  return key.slice(-6).replace(notInHeader, "_").padStart(6, "_");
}

/**
 * A time as nine base-36 digits.
 * @throws RangeError for what is no whole number of milliseconds from 0
 */
export function encodeTime(ms: number): string {
  if (!Number.isSafeInteger(ms) || ms < 0) throw new RangeError(`a record's time must be whole epoch ms, got ${ms}`);
  return Math.min(ms, latestTime).toString(36).padStart(9, "0");
}

/** The four times of a header, in its order. */
export function encodeTimes(stamps: Stamps): string {
  const { createdAt, touchedAt, expiresAt, absoluteExpiresAt } = stamps;
  return (
    encodeTime(createdAt) +
    encodeTime(touchedAt) +
    encodeTime(expiresAt) +
    (absoluteExpiresAt === null ? noTime : encodeTime(absoluteExpiresAt))
  );
}

/** The letter of a record that is written. */
export function kindLetter(record: NewRecord): "L" | "M" {
  return record.kind === "live" ? "L" : "M";
}

/** A whole tombstone; `token` tells its own repeat, after a lost answer, from another's. */
export function encodeTombstone(
  key: string,
  end: { reason: EndReason; until: number },
  now: number,
  token: string,
): string {
  const at = encodeTime(now);
  return `H1E${keyMark(key)}${token}${noToken.repeat(2)}${at}${at}${encodeTime(end.until)}${noTime}${end.reason}`;
}

/**
 * What a record's bytes say at `now`. A tombstone that is over is `undefined`, a record past a deadline is ended, and
 * what is no record, or names another key, is garbage.
 * @throws SessionError `ERR_SESSION_STORE` for a record of a format revision that this version does not know
 */
export function parseRecord(key: string, raw: Buffer, now: number): StoreRecord | undefined {
  const header = raw.toString("latin1", 0, headerLength);
  const named = header.slice(3, 9) === keyMark(key);
  if (!headerPattern.test(header)) {
    if (named && revisionPattern.test(header) && !header.startsWith("H1")) throw otherRevision(header.slice(0, 2));
    return { kind: "garbage", detail: `${raw.length} bytes that are no session record` };
  }
  if (!named) return { kind: "garbage", detail: "a session record that names another key" };

  const expiresAt = timeAt(header, 51);
  const letter = header[2];
  if (letter === "E") {
    return now >= expiresAt ? undefined : { kind: "ended", reason: reasonOf(raw), expiresAt };
  }
  const absolute = timeAt(header, 60);
  const deadline = absolute === 0 ? expiresAt : Math.min(expiresAt, absolute);
  if (now >= deadline) return { kind: "ended", reason: "expired", expiresAt: deadline };
  return {
    kind: letter === "L" ? "live" : "moved",
    version: header.slice(9, 9 + tokenLength),
    createdAt: timeAt(header, 33),
    touchedAt: timeAt(header, 42),
    expiresAt,
    absoluteExpiresAt: absolute === 0 ? null : absolute,
    payload: raw.subarray(headerLength),
  };
}

function timeAt(header: string, offset: number): number {
  return Number.parseInt(header.slice(offset, offset + 9), 36);
}

/** A reason that this version does not know still ends the session, as the strictest does. */
function reasonOf(raw: Buffer): EndReason {
  const [text = ""] = raw.toString("latin1", headerLength).split(" ", 1);
  // The set holds every EndReason and nothing else.
  return endReasons.has(text) ? (text as EndReason) : "revoked";
}

/** The rejection for a record of another format revision. */
export function otherRevision(revision: string): SessionError {
  return new SessionError(
    "ERR_SESSION_STORE",
    `a session record of format ${JSON.stringify(revision)} stands in Redis and this version of holdfast knows "H1" only: finish the upgrade of this node`,
  );
}
