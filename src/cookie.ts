/**
 * The session cookie: reading candidates from the request, checking their signature, and writing `Set-Cookie`. The
 * value is `<secret>.<signature>`, with the option `route` `<secret>.<signature>.<route>`; all its characters are legal
 * in a cookie, so it travels unencoded. Knows no store.
 */

import type { IncomingMessage } from "node:http";
import { parseCookie, stringifySetCookie } from "cookie";
import { sign, unsign } from "cookie-signature";
import type { CookieOptions, PerRequest } from "./cookie-options.ts";

/** The attributes of one cookie for one request. */
export interface CookieAttributes {
  path: string;
  domain: string | undefined;
  secure: boolean;
  httpOnly: boolean;
  sameSite: "lax" | "strict" | "none";
  partitioned: boolean;
  priority: "low" | "medium" | "high" | undefined;
}

/** What a candidate turned out to be. */
export type Verified =
  | {
      secret: string;
      /** Signed by an older key, or routed to another node: good, and to be sent again as this node writes it. */
      isOutdated: boolean;
    }
  | { reason: "malformed" | "bad-signature" };

/** Only the first four of doubled cookies are tried: each costs an HMAC, and a store call when it is signed. */
const maxCandidates = 4;

/**
 * Length and alphabet first (OWASP: "manage the session id as any other user input"), then the signature. Whatever
 * stands behind a further dot is a route, which is not signed: it says nothing about the session and can't spoil it.
 */
const valuePattern = /^([A-Za-z0-9_-]{22,128}\.[A-Za-z0-9+/]{43})(?:\.(.*))?$/s;

const asIs = (value: string): string => value;

/** All values of the cookie `name` in a `Cookie` header, in order, at most four. */
export function readCookies(header: string | undefined, name: string): string[] {
  const values: string[] = [];
  if (!header?.includes(name)) return values;
  for (const pair of header.split(";")) {
    if (!pair.includes(name)) continue;
    // One pair at a time: the library keeps only the first of doubled names.
    const value = parseCookie(pair, { decode: asIs })[name];
    if (value !== undefined && values.push(value) === maxCandidates) break;
  }
  return values;
}

/**
 * Checks form and signature; any of the keys may have signed (rotation). Comparison takes constant time. The route is
 * compared with this node's and never used; a node without one has nothing to say about it.
 */
export function verifyCookie(value: string, secrets: readonly string[], route?: string): Verified {
  const [, signed, found] = valuePattern.exec(value) ?? [];
  if (signed === undefined) return { reason: "malformed" };
  for (const [keyIndex, key] of secrets.entries()) {
    const secret = unsign(signed, key);
    if (secret !== false) return { secret, isOutdated: keyIndex > 0 || (route !== undefined && route !== found) };
  }
  return { reason: "bad-signature" };
}

/** The cookie value of a secret, signed with the newest key, with this node's route behind it. */
export function signCookie(secret: string, secrets: readonly string[], route?: string): string {
  const [newest] = secrets;
  if (newest === undefined) throw new RangeError("no signing key");
  const signed = sign(secret, newest);
  return route === undefined ? signed : `${signed}.${route}`;
}

/** Evaluates the attributes for one request. `"auto"`: secure when the connection is. */
export function attributesFor(options: CookieOptions, request: IncomingMessage, isSecure: boolean): CookieAttributes {
  const secure = valueFor(options.secure, request);
  return {
    path: valueFor(options.path, request),
    domain: valueFor(options.domain, request),
    secure: secure === "auto" ? isSecure : secure,
    httpOnly: valueFor(options.httpOnly, request),
    sameSite: valueFor(options.sameSite, request),
    partitioned: valueFor(options.partitioned, request),
    priority: valueFor(options.priority, request),
  };
}

/** A plain value, or what the user's function makes of the request. */
export function valueFor<T extends string | number | boolean | null | undefined>(
  value: PerRequest<T>,
  request: IncomingMessage,
): T {
  return typeof value === "function" ? value(request) : value;
}

/** Why a browser would refuse a cookie with these attributes; `undefined`: it would not. For what functions returned. */
export function contradiction(name: string, attributes: CookieAttributes): string | undefined {
  if (attributes.secure) return undefined;
  if (attributes.sameSite === "none") return 'sameSite "none" without secure';
  if (attributes.partitioned) return "partitioned without secure";
  return /^__(host|secure)-/i.test(name) ? `the name ${name} without secure` : undefined;
}

/** A `Set-Cookie` value; `maxAgeMs` null: a browser-session cookie. */
export function setCookie(name: string, value: string, attributes: CookieAttributes, maxAgeMs: number | null): string {
  const lifetime =
    maxAgeMs === null ? {} : { maxAge: Math.floor(maxAgeMs / 1000), expires: new Date(Date.now() + maxAgeMs) };
  return stringifySetCookie(name, value, { encode: asIs, ...defined(attributes), ...lifetime });
}

/** A `Set-Cookie` value that makes the browser forget the cookie: same name, path, domain and partition. */
export function clearCookie(name: string, attributes: CookieAttributes): string {
  return stringifySetCookie(name, "", { encode: asIs, ...defined(attributes), maxAge: 0, expires: new Date(0) });
}

/** Adds `cookie` to the `Set-Cookie` headers so far, in place of an earlier one of the same name. */
export function withSetCookie(earlier: number | string | string[] | undefined, name: string, cookie: string): string[] {
  const list = earlier === undefined ? [] : Array.isArray(earlier) ? earlier : [String(earlier)];
  return [...list.filter((line) => !line.startsWith(`${name}=`)), cookie];
}

function defined(attributes: CookieAttributes): {
  path: string;
  secure: boolean;
  httpOnly: boolean;
  sameSite: "lax" | "strict" | "none";
  partitioned: boolean;
  domain?: string;
  priority?: "low" | "medium" | "high";
} {
  const { domain, priority, ...rest } = attributes;
  return { ...rest, ...(domain === undefined ? {} : { domain }), ...(priority === undefined ? {} : { priority }) };
}
