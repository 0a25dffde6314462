/**
 * The options: what a user writes, checked once at start-up into a frozen copy. Every refusal shows what was received
 * and what to write instead; a secret is never shown. The user's object is never written to.
 *
 * Budget: every option has its words here, and its default; they are read as one page.
 */

import type { IncomingMessage } from "node:http";
import type { Codec, Data } from "./codec.ts";
import { type CookieInput, type CookieOptions, resolveCookie, routeOf } from "./cookie-options.ts";
import { SessionError } from "./errors.ts";
import { randomSecret } from "./id.ts";
import type { ConflictResolver } from "./merge.ts";
import { choiceOf, type Duration, durationOf, flagOf, functionOf, refuse, refuseUnknown } from "./option-checks.ts";
import { expiredEventsOf, type LimitPolicy, limitOf, principalOption, type SessionLimit } from "./principal-options.ts";
import type { Transform } from "./record.ts";
import { type ResolvedSchema, resolveSchema, type SchemaOptions, schemaKeys } from "./schema.ts";
import { type ResolvedSecurity, resolveSecurity, type SecurityOptions, securityKeys } from "./security-options.ts";
import type { SessionData } from "./session-data.ts";
import type { Store } from "./store.ts";

/** What `createSessions` and each adapter's `session` take. */
export interface SessionOptions extends SecurityOptions, SchemaOptions {
  /**
   * Key or keys for the cookie's signature, each at least 32 characters; the first signs, all verify. Required:
   * `undefined` (an environment variable that is not set) is refused at start-up.
   */
  secret: string | readonly string[] | undefined;
  /** Where sessions are kept. @default memoryStore() */
  store?: Store;
  /** Idle timeout. @default "1d" */
  ttl?: Duration;
  /** Whether activity extends the lifetime; `false`: it is fixed from creation. @default true */
  rolling?: boolean;
  /** How often activity is written down at most; 0: every request. @default ttl / 20, at most "60s" */
  touchInterval?: Duration;
  /** From creation or the last login, whatever the activity; `null`: none. @default "30d" */
  absoluteTimeout?: Duration | null;
  /** A live session gets a new id that often; `null`: never. @default null */
  renewalTimeout?: Duration | null;
  /** How long the old id goes on answering after the new one was first presented. @default "30s" */
  renewalGrace?: Duration;
  /** The cookie. */
  cookie?: CookieInput;
  /** `"lazy"`: no store call until `await sessionOf(request)`. @default "eager" */
  load?: "eager" | "lazy";
  /** Requests without a session (assets, health checks): the session property reads `undefined`. @default none */
  skip?: (request: IncomingMessage) => boolean;
  /**
   * When a changed session is saved. `"background"`: after the response, which then promises nothing: a crash, or a
   * store that fails twice, loses the change. What begins, moves or ends a session is always saved before.
   * @default "before-response"
   */
  commit?: "before-response" | "background";
  /**
   * How long one request may wait for the store in all, retries included. A call that cost 100 ms, or half of this where
   * that is less, and failed counts towards the circuit breaker. @default "1s"
   */
  storeTimeout?: Duration;
  /**
   * What a store that fails to load does to a request. `"fail"`: a 503 at the first access to the session.
   * `"anonymous"`: a session without data that is not saved (`isDegraded`), no cookie set or cleared; `destroy()`,
   * `renew()`, `regenerate()`, `update()` and `reload()` still reject. A failed end or login is a 503 even where the app
   * did not wait for it or caught the rejection; after the others the page is the app's. A save of a session that *was*
   * loaded is a 503 if it fails, either way. @default "fail"
   */
  onStoreError?: "fail" | "anonymous";
  /**
   * Who wins a key that two requests changed: a function that gives the value, or `"reject"`: the later save fails with
   * `ERR_SESSION_CONFLICT` (409). @default the later save
   */
  onConflict?: ConflictResolver | "reject";
  /** Largest record in bytes, after the transforms; a larger one is refused, and garbage when read. @default 262_144 */
  maxRecordSize?: number;
  /** Data to text and back. @default JSON */
  codec?: Codec;
  /** Steps on the way to the store: compression, encryption. @default none */
  transforms?: readonly Transform[];
  /**
   * Whose session it is, from its data: a text or a number (the user's id), `undefined` for nobody. Feeds
   * `sessions.list`, `destroyAll` and `maxSessions`; a change of it gives the session a new id. @default none
   */
  principal?: (data: SessionData & Data) => string | number | null | undefined;
  /**
   * Most sessions of one principal at once. A number ends the oldest ones (`"evict-oldest"`); with
   * `{ most, policy: "reject" }` the login fails with `ERR_SESSION_LIMIT` (409); or `policy` is a function that gets the
   * user's sessions, the oldest first, and returns the ids of those to end (none: refused). @default no limit
   */
  maxSessions?: number | { most: number; policy?: LimitPolicy };
  /**
   * Whether sessions are noted for the event `expired`, on every node that shares the store: a command more for each
   * session that begins, ends or gets another id, none for a touch; and where somebody listens, a look each second.
   * @default false
   */
  expiredEvents?: boolean;
  /** Makes the cookie's secret: 22 to 128 base64url characters. @default 24 random bytes */
  genId?: () => string;
  /**
   * This node's name behind the cookie's value (`<secret>.<signature>.n1`), for a load balancer that keeps a browser on
   * its node (jvmRoute of Tomcat, mod_jk): 1 to 32 letters, digits, `-` and `_`. It is not signed and never trusted: any
   * node serves any session. A node that is sent another's cookie sends it again with its own route. @default none
   */
  route?: string | undefined;
}

/** The options, checked, with defaults and times in ms. Frozen. */
export interface ResolvedOptions extends ResolvedSecurity, ResolvedSchema {
  /** The signing keys. Not enumerable: no log and no JSON shows them. */
  readonly secrets: readonly string[];
  /** `undefined`: none was given. */
  readonly store: Store | undefined;
  readonly ttlMs: number;
  readonly rolling: boolean;
  readonly touchIntervalMs: number;
  readonly absoluteTimeoutMs: number | null;
  readonly renewalTimeoutMs: number | null;
  readonly renewalGraceMs: number;
  readonly cookie: CookieOptions;
  readonly load: "eager" | "lazy";
  readonly skip: ((request: IncomingMessage) => boolean) | undefined;
  readonly storeTimeoutMs: number;
  readonly commit: "before-response" | "background";
  readonly onStoreError: "fail" | "anonymous";
  /** `undefined`: the later save wins. */
  readonly onConflict: ConflictResolver | "reject" | undefined;
  readonly maxRecordSize: number;
  /** `undefined`: JSON. */
  readonly codec: Codec | undefined;
  readonly transforms: readonly Transform[];
  readonly genId: () => string;
  readonly route: string | undefined;
  readonly principal: ((data: SessionData & Data) => string | number | null | undefined) | undefined;
  /** `undefined`: no limit. */
  readonly maxSessions: SessionLimit | undefined;
  readonly expiredEvents: boolean;
}

const known: readonly string[] = [
  "secret",
  "store",
  "ttl",
  "rolling",
  "touchInterval",
  "absoluteTimeout",
  "renewalTimeout",
  "renewalGrace",
  "cookie",
  "load",
  "skip",
  "commit",
  "storeTimeout",
  "onStoreError",
  "onConflict",
  "maxRecordSize",
  "codec",
  "transforms",
  ...securityKeys,
  ...schemaKeys,
  "genId",
  "route",
  "principal",
  "maxSessions",
  "expiredEvents",
];

/** ASVS 11.2, and what @fastify/session asks: below that a key can be searched for. */
const minSecretLength = 32;

/**
 * Checks the options and fills in the defaults.
 * @throws {SessionError} `ERR_SESSION_OPTION`
 */
export function resolveOptions(options: SessionOptions): ResolvedOptions {
  if (typeof options !== "object" || options === null) {
    refuse("options", options, "pass an object such as { secret: process.env.SESSION_SECRET }");
  }
  refuseUnknown("", options, known);
  const ttlMs = durationOf("ttl", options.ttl ?? "1d");
  const absoluteTimeoutMs =
    options.absoluteTimeout === null ? null : durationOf("absoluteTimeout", options.absoluteTimeout ?? "30d");
  if (absoluteTimeoutMs !== null && ttlMs > absoluteTimeoutMs) {
    refuse("ttl", options.ttl ?? "1d", `lower it to absoluteTimeout (${absoluteTimeoutMs} ms) or below, or raise that`);
  }
  const { renewalTimeout = null } = options;
  const resolved: ResolvedOptions = {
    secrets: secretsOf(options.secret),
    store: storeOf(options.store),
    ttlMs,
    rolling: flagOf("rolling", options.rolling, true),
    touchIntervalMs: touchIntervalOf(options.touchInterval, ttlMs),
    absoluteTimeoutMs,
    renewalTimeoutMs: renewalTimeout === null ? null : durationOf("renewalTimeout", renewalTimeout),
    renewalGraceMs: durationOf("renewalGrace", options.renewalGrace ?? "30s", 0),
    cookie: resolveCookie(options.cookie ?? {}),
    load: choiceOf("load", options.load, ["eager", "lazy"] as const),
    skip: functionOf("skip", options.skip),
    storeTimeoutMs: durationOf("storeTimeout", options.storeTimeout ?? "1s"),
    commit: choiceOf("commit", options.commit, ["before-response", "background"] as const),
    onStoreError: choiceOf("onStoreError", options.onStoreError, ["fail", "anonymous"] as const),
    onConflict: resolverOf(options.onConflict),
    maxRecordSize: sizeOf("maxRecordSize", options.maxRecordSize ?? 262_144),
    codec: codecOf(options.codec),
    transforms: transformsOf(options.transforms ?? []),
    ...resolveSecurity(options),
    ...resolveSchema(options),
    genId: functionOf("genId", options.genId) ?? randomSecret,
    route: routeOf(options.route),
    principal: principalOption(options.principal, options.store),
    expiredEvents: expiredEventsOf(flagOf("expiredEvents", options.expiredEvents, false), options.store),
    maxSessions: limitOf(options.maxSessions, options.store),
  };
  // Who logs an engine, or its options, must not log the keys.
  Object.defineProperty(resolved, "secrets", { enumerable: false });
  return Object.freeze(resolved);
}

function secretsOf(secret: unknown): readonly string[] {
  const secrets: readonly unknown[] = Array.isArray(secret) ? secret : [secret];
  if (secrets.length === 0) refuse("secret", secret, "give at least one key; the first signs, all verify");
  return Object.freeze(
    secrets.map((key, index) => secretOf(key, Array.isArray(secret) ? `secret[${index}]` : "secret")),
  );
}

function secretOf(key: unknown, name: string): string {
  const cure = `give a random string of at least ${minSecretLength} characters, for example process.env.SESSION_SECRET`;
  if (typeof key !== "string") return refuse(name, key, cure);
  if (key.length >= minSecretLength) return key;
  throw new SessionError(
    "ERR_SESSION_OPTION",
    `option ${name}: received a string of ${key.length} characters; ${cure}`,
  );
}

function storeOf(store: Store | undefined): Store | undefined {
  if (store === undefined) return undefined;
  const verbs = ["read", "write", "touch", "remove", "now"] as const;
  const missing = verbs.filter((verb) => typeof store?.[verb] !== "function");
  if (missing.length === 0) return store;
  return refuse("store", store, `it has no ${missing.join(", ")}: pass redisStore(client), memoryStore() or a Store`);
}

function resolverOf(value: ConflictResolver | "reject" | undefined): ConflictResolver | "reject" | undefined {
  if (value === undefined || value === "reject" || typeof value === "function") return value;
  return refuse("onConflict", value, 'write a function (key, base, mine, theirs) => value, or "reject"');
}

function sizeOf(name: string, value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 1024) return value;
  return refuse(name, value, "write a whole number of bytes from 1024");
}

function touchIntervalOf(value: unknown, ttlMs: number): number {
  if (value === undefined) return Math.min(Math.floor(ttlMs / 20), 60_000);
  const interval = durationOf("touchInterval", value, 0);
  return interval < ttlMs ? interval : refuse("touchInterval", value, `write less than ttl (${ttlMs} ms)`);
}

function codecOf(codec: Codec | undefined): Codec | undefined {
  if (codec === undefined) return undefined;
  if (typeof codec?.encode === "function" && typeof codec.decode === "function") return codec;
  return refuse("codec", codec, "pass { encode(data), decode(text) }");
}

function transformsOf(transforms: readonly Transform[]): readonly Transform[] {
  if (!Array.isArray(transforms)) return refuse("transforms", transforms, "pass an array");
  for (const [index, transform] of transforms.entries()) {
    if (typeof transform?.apply !== "function" || typeof transform.undo !== "function") {
      refuse(`transforms[${index}]`, transform, "pass { apply(bytes, { key }), undo(bytes, { key }) }");
    }
  }
  return Object.freeze([...transforms]);
}
