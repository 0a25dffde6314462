/**
 * The pointer that a timed rotation leaves under the old id. Whoever still comes with the old secret is led on: the new
 * secret is derived from the old one, a nonce in the pointer and a signing key (HMAC-SHA256), so that every request of
 * the grace is given the same new cookie, and the store alone can't tell a secret from it.
 */
import { createHmac } from "node:crypto";
import { publicIdOf, randomSecret } from "./id.ts";
import type { MovedRecord } from "./store.ts";

/** Where a session went. */
export interface Pointer {
  nonce: string;
  /** The public id that it has now. */
  id: string;
}

/** 192 bits, as of any other secret. */
const derivedLength = 32;

/** A new secret for a rotation, and the pointer to it. */
export function movedTo(oldSecret: string, secrets: readonly string[]): { secret: string; pointer: Pointer } {
  const nonce = randomSecret();
  const secret = derive(oldSecret, nonce, secrets[0] ?? "");
  return { secret, pointer: { nonce, id: publicIdOf(secret) } };
}

/** The pointer as a payload. */
export function packPointer({ nonce, id }: Pointer): Uint8Array {
  return Buffer.from(`${nonce} ${id}`);
}

/** The pointer of a moved record; `undefined`: garbage. */
export function pointerOf(record: MovedRecord): Pointer | undefined {
  const { buffer, byteOffset, byteLength } = record.payload;
  const match = /^([\w-]{32}) ([\w-]{43})$/.exec(Buffer.from(buffer, byteOffset, byteLength).toString("latin1"));
  return match?.[1] === undefined || match[2] === undefined ? undefined : { nonce: match[1], id: match[2] };
}

/** The secret that a pointer leads to, whichever of the keys it was derived with; `undefined`: with none of them. */
export function secretBehind(oldSecret: string, pointer: Pointer, secrets: readonly string[]): string | undefined {
  for (const key of secrets) {
    const secret = derive(oldSecret, pointer.nonce, key);
    if (publicIdOf(secret) === pointer.id) return secret;
  }
  return undefined;
}

function derive(oldSecret: string, nonce: string, key: string): string {
  // The label keeps this apart from the cookie's signature, which is made with the same key.
  const mac = createHmac("sha256", key).update(`holdfast renewal\0${oldSecret}\0${nonce}`).digest("base64url");
  return mac.slice(0, derivedLength);
}
