/**
 * Session ids. The *secret* stands in the cookie and nowhere else; its SHA-256, the *public id*, names the session in
 * the store, in events, in logs and to the app (OWASP Session Management, "session repository protection").
 */
import { hash, randomBytes } from "node:crypto";
import { SessionError } from "./errors.ts";

/** 192 random bits: OWASP and ASVS 7.2.3 ask for 128. */
const secretBytes = 24;

/** 22 base64url characters hold 128 bits. The upper bound keeps name + value far below 4096 bytes (ASVS 3.3.5). */
const secretPattern = /^[A-Za-z0-9_-]{22,128}$/;

/** The default `genId`: 24 bytes of the system's CSPRNG as 32 base64url characters. */
export function randomSecret(): string {
  return randomBytes(secretBytes).toString("base64url");
}

/**
 * A fresh secret from `genId`.
 * @throws {SessionError} `ERR_SESSION_ID` when it is no string of 22 to 128 base64url characters
 */
export function newSecret(genId: () => string): string {
  const secret: unknown = genId();
  if (typeof secret === "string" && secretPattern.test(secret)) return secret;
  const received = typeof secret === "string" ? `a string of ${secret.length} characters` : `a ${typeof secret}`;
  throw new SessionError(
    "ERR_SESSION_ID",
    `genId returned ${received}: return 22 to 128 base64url characters (A-Z a-z 0-9 _ -) with at least 128 random bits`,
  );
}

/** The public id of a secret: base64url SHA-256, 43 characters. */
export function publicIdOf(secret: string): string {
  return hash("sha256", secret, "base64url");
}
