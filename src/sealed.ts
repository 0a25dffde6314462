/**
 * Encryption at rest: a transform that seals records with AES-256-GCM before a store sees them. For options'
 * `transforms`; knows no session. What it can't open (another key, changed bytes, a record copied to another key) throws,
 * and the engine treats that record as garbage. There is no way around: plain records are not read (CVE-2026-39324).
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { SessionError } from "./errors.ts";
import type { Transform } from "./record.ts";

/** Format, id of the key, nonce; the ciphertext; the tag. */
const format = 1;
const keyIdLength = 4;
const nonceLength = 12;
const tagLength = 16;
const headerLength = 1 + keyIdLength + nonceLength;

/** As for the cookie's signing keys: below that a key can be searched for (ASVS 5.0 11.2.3 asks for 128 bits). */
const leastCharacters = 32;

interface RingKey {
  id: Buffer;
  key: Buffer;
}

/**
 * A transform for `transforms`: the first key seals, all open; to rotate, put the new key first and take the old one away
 * once its last record has expired. Keys are random strings of at least 32 characters, and not those of `secret`: who
 * leaks one must not leak both.
 *
 * Each record has a key of its own, derived from the ring's and from its place in the store, which is authenticated as
 * well: a copy under another session's id does not open. So no key is ever worn out by random nonces either
 * (NIST SP 800-38D §8.3: 2^32 a key). 33 bytes are added to each record. With `compressed()`, put that first.
 * @throws {SessionError} `ERR_SESSION_OPTION` where a key is missing or short
 */
export function sealed(keys: string | readonly string[] | undefined): Transform {
  const ring = ringOf(keys);
  const [newest] = ring;
  if (newest === undefined) return refuse("no key");
  return {
    apply(bytes, { key }) {
      const nonce = randomBytes(nonceLength);
      const header = Buffer.concat([Buffer.of(format), newest.id, nonce]);
      const cipher = createCipheriv("aes-256-gcm", recordKey(newest, key), nonce, { authTagLength: tagLength });
      cipher.setAAD(associated(header, key));
      return Buffer.concat([header, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
    },
    undo(bytes, { key }) {
      if (bytes.byteLength < headerLength + tagLength || bytes[0] !== format) throw new RangeError("it is not sealed");
      const header = bytes.subarray(0, headerLength);
      const id = header.subarray(1, 1 + keyIdLength);
      const found = ring.find((candidate) => candidate.id.equals(id));
      if (found === undefined) throw new RangeError("it is sealed with a key that is not in the ring");
      const nonce = header.subarray(1 + keyIdLength);
      const decipher = createDecipheriv("aes-256-gcm", recordKey(found, key), nonce, { authTagLength: tagLength });
      decipher.setAAD(associated(header, key));
      decipher.setAuthTag(bytes.subarray(bytes.byteLength - tagLength));
      try {
        return Buffer.concat([decipher.update(bytes.subarray(headerLength, -tagLength)), decipher.final()]);
      } catch {
        throw new RangeError("its seal is broken: other bytes, another key, or another session's record");
      }
    },
  };
}

function ringOf(keys: unknown): RingKey[] {
  const list: readonly unknown[] = Array.isArray(keys) ? keys : [keys];
  const ring = list.map((key) => {
    if (typeof key !== "string") return refuse(`a ${typeof key}`);
    if (key.length < leastCharacters) return refuse(`a string of ${key.length} characters`);
    const derived = Buffer.from(hkdfSync("sha256", key, "", "holdfast sealed: ring key", 32 + keyIdLength));
    return { key: derived.subarray(0, 32), id: derived.subarray(32) };
  });
  const isAmbiguous = ring.some(({ id }, at) => ring.findIndex((other) => other.id.equals(id)) !== at);
  return isAmbiguous ? refuse("one key twice") : ring;
}

function recordKey({ key }: RingKey, place: string): Buffer {
  return createHmac("sha256", key).update("holdfast sealed: record key\0").update(place).digest();
}

function associated(header: Uint8Array, place: string): Buffer {
  return Buffer.concat([header, Buffer.from(place)]);
}

function refuse(received: string): never {
  throw new SessionError(
    "ERR_SESSION_OPTION",
    `sealed(keys): received ${received}; give random strings of at least ${leastCharacters} characters, each once, the newest first`,
  );
}
