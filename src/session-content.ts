/**
 * A record's content as a session's data, and back: unpacked, decoded, encoded, and without the keys that only members
 * of the session may have. Called wherever a record is read or written.
 */
import type { Data } from "./codec.ts";
import type { Context } from "./context.ts";
import { SessionError } from "./errors.ts";
import type { Meta } from "./meta.ts";
import { type Content, decodeData, type Known, unpack } from "./record.ts";
import { checkData, upgraded } from "./schema.ts";
import type { LiveRecord } from "./store.ts";

/** Names that are members of the session in every framework, or will be: no data key may have one. */
export const reservedKeys: ReadonlySet<string> = new Set([
  "id",
  "isNew",
  "cookie",
  "save",
  "update",
  "reload",
  "renew",
  "regenerate",
  "destroy",
  "touch",
  "expiresAt",
  "absoluteExpiresAt",
  "expire",
  "principal",
  "authenticatedAt",
  "isDegraded",
  "sessionId",
]);

/** Takes a live record apart. Throws on a payload that can't be ours. */
export function knownFrom(context: Context, id: string, record: LiveRecord): Known {
  const { version, createdAt, touchedAt, expiresAt, absoluteExpiresAt } = record;
  const { maxRecordSize, transforms } = context.options;
  if (record.payload.byteLength > maxRecordSize) {
    throw new RangeError(`${record.payload.byteLength} bytes are more than maxRecordSize (${maxRecordSize})`);
  }
  const content = unpack(record.payload, id, transforms);
  return { version, createdAt, touchedAt, expiresAt, absoluteExpiresAt, content };
}

/**
 * The data of a content, in the shape that the `schema` option gives them. Throws on garbage, and on a key that only a
 * member may have. No data at all need no schema: they are those of a new session.
 */
export function dataOf(context: Context, { meta, text }: Content): Data {
  if (text === context.emptyText) return {};
  const data = upgraded(context.options, decodeData(text, context.codec), meta.v ?? 0);
  for (const key of Object.keys(data)) {
    if (reservedKeys.has(key)) throw new TypeError(`the data have a key "${key}", which is a member of the session`);
  }
  return data;
}

/** `data` as they are stored beside `meta`, which says their version. @throws {SessionError} what `encode` throws */
export function contentOf(context: Context, meta: Meta, data: Data): Content {
  return { meta: stamped(context, meta), text: encode(context, data) };
}

/** `meta`, of data in the shape that this node writes. */
export function stamped({ options: { version } }: Context, meta: Meta): Meta {
  if ((meta.v ?? 0) === version) return meta;
  const { v: _earlier, ...rest } = meta;
  return version === 0 ? rest : { ...rest, v: version };
}

/** Checks data that are to be stored as `text`. @throws {SessionError} `ERR_SESSION_SCHEMA` */
export function check(context: Context, data: Data, text: string): void {
  if (text !== context.emptyText) checkData(context.options, data);
}

/** @throws {SessionError} `ERR_SESSION_RESERVED_KEY` where a data key is the name of a member */
export function refuseReserved(data: Data): void {
  for (const key of Object.keys(data)) {
    if (reservedKeys.has(key)) {
      throw new SessionError(
        "ERR_SESSION_RESERVED_KEY",
        `the data key "${key}" is the name of a member of the session and can't be stored: use another name`,
      );
    }
  }
}

/** What an assignment to a member comes to. @throws {SessionError} `ERR_SESSION_RESERVED_KEY` */
export function refuseMember(name: string): never {
  throw new SessionError(
    "ERR_SESSION_RESERVED_KEY",
    `session.${name} is a member of the session and can't be assigned: use another name for data`,
  );
}

/** @throws {SessionError} `ERR_SESSION_VALUE`, `ERR_SESSION_RESERVED_KEY` */
export function encode(context: Context, data: Data): string {
  refuseReserved(data);
  try {
    return context.codec.encode(data);
  } catch (error) {
    if (error instanceof SessionError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new SessionError("ERR_SESSION_VALUE", `the session's data can't be encoded: ${reason}`, { cause: error });
  }
}
