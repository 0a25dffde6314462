/**
 * The pointer that a timed rotation leaves under the old id. Whoever still comes with the old secret is led on: the new
 * secret is derived from the old one, a nonce in the pointer and a signing key (HMAC-SHA256), so that every request of
 * the grace is given the same new cookie, and the store alone can't tell a secret from it.
 */
import { createHmac } from "node:crypto";
import { publicIdOf, randomSecret } from "./id.ts";
import type { MovedRecord, NewRecord, StoreRecord } from "./store.ts";

/** Where a session went. */
export interface Pointer {
  nonce: string;
  /** The public id that it has now. */
  id: string;
  /**
   * Until when it leads requests on, epoch ms; `undefined`: as long as it stands. Afterwards the old id is dead, and a
   * logout that began under it still finds the session.
   */
  graceEnds?: number;
}

/** 192 bits, as of any other secret. */
const derivedLength = 32;

/** A new secret for a rotation, and the pointer to it. */
export function movedTo(oldSecret: string, secrets: readonly string[]): { secret: string; pointer: Pointer } {
  const nonce = randomSecret();
  const [key] = secrets;
  if (key === undefined) throw new RangeError("no signing key");
  const secret = derive(oldSecret, nonce, key);
  return { secret, pointer: { nonce, id: publicIdOf(secret) } };
}

/** The pointer as a payload. */
export function packPointer({ nonce, id, graceEnds }: Pointer): Uint8Array {
  return Buffer.from(graceEnds === undefined ? `${nonce} ${id}` : `${nonce} ${id} ${graceEnds}`);
}

/** The pointer of a moved record; `undefined`: garbage. */
export function pointerOf(record: MovedRecord): Pointer | undefined {
  const { buffer, byteOffset, byteLength } = record.payload;
  const text = Buffer.from(buffer, byteOffset, byteLength).toString("latin1");
  const [, nonce, id, graceEnds] = /^([\w-]{32}) ([\w-]{43})(?: (\d{1,15}))?$/.exec(text) ?? [];
  if (nonce === undefined || id === undefined) return undefined;
  return graceEnds === undefined ? { nonce, id } : { nonce, id, graceEnds: Number(graceEnds) };
}

/**
 * What `renew()` leaves under the old id: a moved record without a pointer, which leads nobody on. Unlike a tombstone
 * it is written by compare-and-set, so that the end of the old id and what was saved there last are one step.
 */
export function retiredRecord(now: number, until: number): NewRecord {
  const payload = new Uint8Array();
  return { kind: "moved", createdAt: now, touchedAt: now, expiresAt: until, absoluteExpiresAt: null, payload };
}

/** What stands under an id at `now`; a moved record that leads nobody on, or no longer does, read as the end it is. */
export function asEnded(record: StoreRecord | undefined, now: number): StoreRecord | undefined {
  if (record?.kind !== "moved") return record;
  const isRetired =
    record.payload.byteLength === 0 || now >= (pointerOf(record)?.graceEnds ?? Number.POSITIVE_INFINITY);
  return isRetired ? { kind: "ended", reason: "renewed", expiresAt: record.expiresAt } : record;
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
