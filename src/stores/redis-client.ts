/**
 * The ioredis client behind a Redis store: what the store needs of one, how the URL form makes its own, and what is
 * reported about one that was handed in. Sends no command. `redis.ts` calls it at start-up.
 *
 * ioredis is an optional peer: nothing here imports it until a URL asks for it.
 */
import { createRequire } from "node:module";
import type { ConnectionOptions } from "node:tls";
import { debuglog } from "node:util";
import { SessionError } from "../errors.ts";

/** What the store uses of an ioredis `Redis` or `Cluster`, version 5 or 6. */
export interface RedisLike {
  readonly status: string;
  readonly options: object;
  getBuffer(key: string): Promise<Buffer | null>;
  evalsha(sha: string, keyCount: number, ...args: (string | Buffer)[]): Promise<unknown>;
  time(): Promise<unknown>;
  connect(): Promise<void>;
  quit(): Promise<unknown>;
  disconnect(): void;
  on(event: "ready" | "end" | "error", listener: (...args: unknown[]) => void): unknown;
  off(event: "ready" | "end" | "error", listener: (...args: unknown[]) => void): unknown;
}

/** The same with the two methods that ioredis has and its types leave out. */
export interface RedisCommands extends RedisLike {
  evalshaBuffer(sha: string, keyCount: number, ...args: (string | Buffer)[]): Promise<unknown>;
  evalBuffer(lua: string, keyCount: number, ...args: (string | Buffer)[]): Promise<unknown>;
}

/** Options of the URL form's connection; with a client of your own they belong to that one. */
export interface ConnectionSettings {
  /** How long one command may take, in ms. @default 500 */
  commandTimeout?: number;
  /** How long a silent connection with commands under way is kept, in ms. @default 2500 */
  socketTimeout?: number;
  /** For `rediss:`: certificates and the like. @default Node's own trust */
  tls?: ConnectionOptions;
}

const log = debuglog("holdfast");

const needed = ["getBuffer", "evalshaBuffer", "evalBuffer", "time", "connect", "quit", "disconnect", "on", "off"];

/**
 * Checks a client that was handed in, and reports once what would make an outage worse.
 * @throws {SessionError} `ERR_SESSION_OPTION` when it is no ioredis client
 */
export function checkClient(client: unknown): RedisCommands {
  if (isRedisCommands(client)) {
    reportMissing(client);
    return client;
  }
  const looksLike = typeof client === "object" && client !== null && "sendCommand" in client ? " (node-redis?)" : "";
  const received = client === null ? "null" : Array.isArray(client) ? "an array" : `${typeof client}${looksLike}`;
  throw new SessionError(
    "ERR_SESSION_OPTION",
    `redisStore(client): received ${received}; hand in an ioredis client, new Redis(…) or new Cluster(…), or a URL such as "redis://127.0.0.1:6379"`,
  );
}

function isRedisCommands(client: unknown): client is RedisCommands {
  if (typeof client !== "object" || client === null || Reflect.get(client, "isPipeline") === true) return false;
  return needed.every((name) => typeof Reflect.get(client, name) === "function");
}

/** Whether the message was given for this client. */
const reported = new WeakSet<object>();

/** Names the settings that a client handed in lacks: `process.emitWarning`, once a client. */
function reportMissing(client: RedisCommands): void {
  if (reported.has(client)) return;
  reported.add(client);
  const missing = missingSettings(client);
  if (missing.length === 0) return;
  process.emitWarning(
    `the ioredis client given to redisStore() lacks settings that decide how an outage ends: ${missing.join("; ")}. Set them where the client is made, or give redisStore() a URL, whose client has them.`,
    { type: "HoldfastWarning", code: "HOLDFAST_REDIS_CLIENT" },
  );
}

/** One phrase for each setting that is missing: its name, its value now, what to set. */
export function missingSettings(client: RedisLike): string[] {
  const own = new Map<string, unknown>(Object.entries(client.options));
  const isCluster = Reflect.get(client, "isCluster") === true;
  const inner = own.get("redisOptions");
  const node = isCluster ? new Map<string, unknown>(Object.entries(inner ?? {})) : own;
  const where = isCluster ? "redisOptions." : "";
  const missing: string[] = [];
  const ask = (name: string, now: unknown, want: string): void => {
    missing.push(`${name} is ${String(now)}, set ${want}`);
  };

  for (const [name, want] of [
    ["commandTimeout", 500],
    ["socketTimeout", 2_500],
  ] as const) {
    if (typeof node.get(name) !== "number") ask(where + name, node.get(name), String(want));
  }
  if (isCluster) {
    if (own.get("scaleReads") !== "master")
      ask("scaleReads", own.get("scaleReads"), '"master" (sessions must read their own writes)');
    return missing;
  }
  const retries = own.get("maxRetriesPerRequest");
  if (typeof retries !== "number" || retries > 3) ask("maxRetriesPerRequest", retries, "1");
  if (own.get("autoResendUnfulfilledCommands") !== false) ask("autoResendUnfulfilledCommands", true, "false");
  if (Array.isArray(own.get("sentinels")) && own.get("failoverDetector") !== true)
    ask("failoverDetector", false, "true");
  return missing;
}

/**
 * Makes the URL form's own client. It connects at once, and its errors go to `NODE_DEBUG=holdfast`.
 * @throws {SessionError} `ERR_SESSION_OPTION` for a URL that is none, another scheme, or a missing ioredis
 */
export function openClient(url: string, settings: ConnectionSettings): RedisCommands {
  checkUrl(url);
  const Redis = loadRedis();
  const client = checkOwn(
    new Redis(url, {
      commandTimeout: settings.commandTimeout ?? 500,
      socketTimeout: settings.socketTimeout ?? 2_500,
      connectTimeout: 2_500,
      disconnectTimeout: 500,
      maxRetriesPerRequest: 1,
      autoResendUnfulfilledCommands: false,
      // The commands of one turn of the event loop leave in one write: a third of a read's CPU at this end.
      enableAutoPipelining: true,
      retryStrategy: (attempt: number) => Math.min(50 * attempt, 500),
      // A connection to a master that became a replica is of no use any more.
      reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
      ...(settings.tls === undefined ? {} : { tls: settings.tls }),
    }),
  );
  client.on("error", (error) => log("redis: %s", error instanceof Error ? error.message : error));
  return client;
}

type RedisConstructor = new (url: string, options: object) => unknown;

function loadRedis(): RedisConstructor {
  let loaded: unknown;
  try {
    // Synchronous, so that a missing package is an error at start-up; a bundler leaves it alone.
    loaded = createRequire(import.meta.url)("ioredis");
  } catch (cause) {
    throw new SessionError(
      "ERR_SESSION_OPTION",
      'redisStore(url) needs the package ioredis and could not load it: run "npm install ioredis", or hand in a client of your own',
      { cause },
    );
  }
  // ioredis is CommonJS; `Redis` is its class in versions 5 and 6.
  return (loaded as { Redis: RedisConstructor }).Redis;
}

function checkOwn(client: unknown): RedisCommands {
  if (isRedisCommands(client)) return client;
  throw new SessionError(
    "ERR_SESSION_OPTION",
    "redisStore(url): the installed ioredis is too old; install ioredis 5 or 6",
  );
}

function checkUrl(url: string): void {
  const cure =
    'write "redis://[user:password@]host[:port][/db]", or "rediss://…" for TLS; for a socket, Sentinel or Cluster hand in a client';
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    // Not shown: half a URL may hold a password.
    throw new SessionError(
      "ERR_SESSION_OPTION",
      `redisStore(url): received ${url.length} characters that are no URL; ${cure}`,
    );
  }
  if ((parsed.protocol === "redis:" || parsed.protocol === "rediss:") && parsed.hostname !== "") return;
  throw new SessionError(
    "ERR_SESSION_OPTION",
    `redisStore(url): received "${parsed.protocol}//${parsed.host}"; ${cure}`,
  );
}
