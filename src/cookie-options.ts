/**
 * The checks of the `cookie` options and `route`: each attribute alone, and the pairs that browsers refuse. Called by options.ts
 * at start-up; what functions return is checked by the same rules when a cookie is made.
 */

import type { IncomingMessage } from "node:http";
import { stringifySetCookie } from "cookie";
import { choiceOf, type Duration, durationOf, refuse, refuseUnknown } from "./option-checks.ts";

/** A value or a function of the request. */
export type PerRequest<T> = T | ((request: IncomingMessage) => T);

/** Cookie options; all but `name` may be functions of the request. */
export interface CookieInput {
  /** @default `"__Host-sid"` when `secure` is `true`, there is no `domain` and `path` is `/`; otherwise `"sid"` */
  name?: string;
  /** Hidden from scripts (ASVS 3.3.4). @default true */
  httpOnly?: PerRequest<boolean>;
  /** ASVS 3.3.2. `"none"` needs `secure`. @default "lax" */
  sameSite?: PerRequest<"lax" | "strict" | "none">;
  /** @default "/" */
  path?: PerRequest<string>;
  /** `"auto"`: as the request's connection is (ASVS 3.3.1). @default true with NODE_ENV=production, else "auto" */
  secure?: PerRequest<boolean | "auto">;
  /** @default none: the host alone */
  domain?: PerRequest<string | undefined>;
  /**
   * The *browser's* lifetime of the cookie; the server's is `ttl`. `null`: until the browser closes, nothing to re-send.
   * `"ttl"`: as long as the session. @default null
   */
  maxAge?: PerRequest<Duration | "ttl" | null>;
  /** CHIPS. @default false */
  partitioned?: PerRequest<boolean>;
  /** @default none */
  priority?: PerRequest<"low" | "medium" | "high" | undefined>;
}

/** The cookie options, resolved. */
export interface CookieOptions {
  readonly name: string;
  /** The other default name: a signed cookie under it is reported, as it tells of nodes with different options. */
  readonly otherName: string | undefined;
  readonly httpOnly: PerRequest<boolean>;
  readonly sameSite: PerRequest<"lax" | "strict" | "none">;
  readonly path: PerRequest<string>;
  readonly secure: PerRequest<boolean | "auto">;
  readonly domain: PerRequest<string | undefined>;
  readonly maxAge: PerRequest<Duration | "ttl" | null>;
  readonly partitioned: PerRequest<boolean>;
  readonly priority: PerRequest<"low" | "medium" | "high" | undefined>;
}

const known: readonly string[] = [
  "name",
  "httpOnly",
  "sameSite",
  "path",
  "secure",
  "domain",
  "maxAge",
  "partitioned",
  "priority",
];

const tokenPattern = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/;

/** No dot, so that what a balancer matches at the value's end (`.n1`) is one whole route; shorter than a signature. */
const routePattern = /^[A-Za-z0-9_-]{1,32}$/;

/** Checks the option `route`. */
export function routeOf(value: unknown): string | undefined {
  if (value === undefined || (typeof value === "string" && routePattern.test(value))) return value;
  return refuse("route", value, 'write this node\'s name, 1 to 32 letters, digits, - and _, such as "n1"');
}

/** Checks the cookie options and fills in the defaults. Frozen. */
export function resolveCookie(input: CookieInput): CookieOptions {
  if (typeof input !== "object" || input === null)
    refuse("cookie", input, 'pass an object such as { sameSite: "lax" }');
  refuseUnknown("cookie.", input, known);
  const attributes = {
    httpOnly: input.httpOnly ?? true,
    sameSite: input.sameSite ?? "lax",
    path: input.path ?? "/",
    secure: input.secure ?? (process.env.NODE_ENV === "production" ? true : "auto"),
    domain: input.domain,
    maxAge: input.maxAge ?? null,
    partitioned: input.partitioned ?? false,
    priority: input.priority,
  } as const;
  checkAttributes(attributes);
  const isHost = attributes.secure === true && attributes.domain === undefined && attributes.path === "/";
  const name = input.name ?? (isHost ? "__Host-sid" : "sid");
  checkName(name, attributes);
  const isDefault = input.name === undefined;
  const otherName = isDefault ? (isHost ? "sid" : "__Host-sid") : undefined;
  return Object.freeze({ name, otherName, ...attributes });
}

type Attributes = Omit<CookieOptions, "name" | "otherName">;

function checkAttributes(attributes: Attributes): void {
  const { sameSite, secure, path, domain, maxAge, priority } = attributes;
  flag("cookie.httpOnly", attributes.httpOnly);
  flag("cookie.partitioned", attributes.partitioned);
  if (!isFunction(secure) && secure !== "auto" && typeof secure !== "boolean") {
    refuse("cookie.secure", secure, 'write true, false or "auto"');
  }
  if (!isFunction(sameSite)) choiceOf("cookie.sameSite", sameSite, ["lax", "strict", "none"]);
  if (!isFunction(priority)) choiceOf("cookie.priority", priority, ["low", "medium", "high"]);
  if (!isFunction(maxAge) && maxAge !== null && maxAge !== "ttl") durationOf("cookie.maxAge", maxAge, 1000);
  if (!isFunction(path) && !(typeof path === "string" && path.startsWith("/") && isAccepted({ path }))) {
    refuse("cookie.path", path, 'write a path that begins with "/" and has no ";"');
  }
  if (
    !isFunction(domain) &&
    domain !== undefined &&
    !(typeof domain === "string" && domain !== "" && isAccepted({ domain }))
  ) {
    refuse("cookie.domain", domain, 'write a host name such as "example.org"');
  }
  if (sameSite === "none" && secure === false) {
    refuse("cookie.secure", secure, 'browsers refuse sameSite: "none" without secure: write true or "auto"');
  }
  if (attributes.partitioned === true && secure === false) {
    refuse("cookie.secure", secure, 'browsers refuse partitioned cookies without secure: write true or "auto"');
  }
}

function checkName(name: unknown, attributes: Attributes): void {
  if (typeof name !== "string" || !tokenPattern.test(name)) {
    refuse("cookie.name", name, "write 1 to 64 characters of a token (RFC 6265): letters, digits, - _ .");
  }
  const prefix = /^__(host|secure)-/i.exec(String(name))?.[1]?.toLowerCase();
  if (prefix === undefined) return;
  if (attributes.secure !== true) {
    refuse(
      "cookie.secure",
      show(attributes.secure),
      `a cookie named ${String(name)} needs secure: true (RFC 6265bis §4.1.3)`,
    );
  }
  if (prefix === "host" && (attributes.domain !== undefined || attributes.path !== "/")) {
    refuse("cookie.name", name, 'the __Host- prefix allows no domain and only path "/" (RFC 6265bis §4.1.3)');
  }
}

function isAccepted(attribute: { path: string } | { domain: string }): boolean {
  try {
    stringifySetCookie("x", "x", attribute);
    return true;
  } catch {
    return false;
  }
}

function flag(name: string, value: unknown): void {
  if (!isFunction(value) && typeof value !== "boolean") refuse(name, value, "write true or false");
}

function isFunction(value: unknown): value is (...args: never) => unknown {
  return typeof value === "function";
}

function show(value: unknown): unknown {
  return typeof value === "function" ? "a function" : value;
}
