/**
 * What a session's payload holds: one line with what the session keeps beside its data (empty for most), a line feed,
 * and the codec's text; then the transforms, in order. Stores see the bytes only.
 */
import type { Codec, Data } from "./codec.ts";
import { type Meta, readMeta } from "./meta.ts";
import type { Stamps } from "./store.ts";

/** A step on the way to and from the store: compression, encryption. Synchronous; `undo` may throw on what isn't its own. */
export interface Transform {
  apply(bytes: Uint8Array, context: { key: string }): Uint8Array;
  undo(bytes: Uint8Array, context: { key: string }): Uint8Array;
}

/** A payload, taken apart but not decoded. */
export interface Content {
  meta: Meta;
  text: string;
}

/** A record of the store, taken apart. */
export interface Known extends Stamps {
  version: string;
  content: Content;
}

/** To bytes for the store. */
export function pack(content: Content, key: string, transforms: readonly Transform[]): Uint8Array {
  const line = JSON.stringify(content.meta);
  const meta = line === "{}" ? "" : line;
  let bytes: Uint8Array = Buffer.from(`${meta}\n${content.text}`);
  for (const transform of transforms) bytes = transform.apply(bytes, { key });
  return bytes;
}

/** From bytes of the store. Throws on anything that `pack` can't have made. */
export function unpack(payload: Uint8Array, key: string, transforms: readonly Transform[]): Content {
  let bytes = payload;
  for (const transform of [...transforms].reverse()) bytes = transform.undo(bytes, { key });
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
  const end = whole.indexOf("\n");
  if (end < 0) throw new SyntaxError("the payload has no first line");
  return { meta: end === 0 ? {} : readMeta(whole.slice(0, end)), text: whole.slice(end + 1) };
}

/** Decodes a text; throws unless the codec gives an object with string keys. */
export function decodeData(text: string, codec: Codec): Data {
  const data: unknown = codec.decode(text);
  if (typeof data !== "object" || data === null || Array.isArray(data)) throw new TypeError("the data are no object");
  // Checked above; a codec's own type says the same.
  return data as Data;
}
