/**
 * What a write sends besides a record's header, made cheaply: its version token, and its payload in the form that costs
 * ioredis least. Knows no connection. `redis.ts` calls it.
 */
import { isUtf8 } from "node:buffer";
import { randomFillSync } from "node:crypto";

const tokenBytes = 6;
const tokenPool = Buffer.alloc(512 * tokenBytes);
let tokenAt = tokenPool.length;

/** A version token. Random bytes are drawn for many at once: a draw for each costs more than a write's other arguments. */
export function newToken(): string {
  if (tokenAt === tokenPool.length) {
    randomFillSync(tokenPool);
    tokenAt = 0;
  }
  tokenAt += tokenBytes;
  return tokenPool.toString("base64url", tokenAt - tokenBytes, tokenAt);
}

/** Bytes that are text go as text: for one Buffer among its arguments ioredis copies the whole command piece by piece. */
export function argumentOf(payload: Uint8Array): string | Buffer {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  return isUtf8(bytes) ? bytes.toString() : bytes;
}
