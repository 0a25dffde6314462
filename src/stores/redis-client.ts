/**
 * The ioredis client behind a Redis store: what the store needs of one, and how the URL form makes its own. One that was
 * handed in is checked in `redis-client-check.ts`. Sends no command. `redis.ts` calls it at start-up.
 *
 * ioredis is an optional peer: nothing here imports it until a URL asks for it.
 */
import type { EventEmitter } from "node:events";
import { createRequire } from "node:module";
import { Duplex } from "node:stream";
import { debuglog } from "node:util";
import { SessionError } from "../errors.ts";
import type { NodeRedisKind } from "./node-redis-masters.ts";
import { type ConnectionSettings, parseRedisUrl } from "./redis-url.ts";

/** What the store listens to. */
export type RedisEvent = "connecting" | "connect" | "ready" | "close" | "end" | "error";

/** What the store uses of an ioredis `Redis` or `Cluster`, version 5 or 6. */
export interface RedisLike {
  readonly status: string;
  readonly options: object;
  getBuffer(key: string): Promise<Buffer | null>;
  evalsha(sha: string, keyCount: number, ...args: (string | Buffer)[]): Promise<unknown>;
  time(): Promise<unknown>;
  info(...sections: string[]): Promise<unknown>;
  connect(): Promise<void>;
  quit(): Promise<unknown>;
  disconnect(reconnect?: boolean): void;
  on(event: RedisEvent, listener: (...args: unknown[]) => void): unknown;
  off(event: RedisEvent, listener: (...args: unknown[]) => void): unknown;
}

/** One subscription, from its beginning to its end. */
export interface Subscriber {
  /** Connects; from when this resolves on each message is told. Called once. */
  subscribe(channel: string, onMessage: (text: string) => void): Promise<void>;
  /** Asks for an answer: a connection may be dead without a word. */
  ping(): Promise<unknown>;
  /** Resolves when something may be missed from now on, and after `close()`. */
  readonly ended: Promise<void>;
  /** Whether it may be cut and made anew without a word: what is watched is looked at now and then. */
  readonly mayMiss: boolean;
  close(): void;
}

/** The same with the two methods that ioredis has and its types leave out. */
export interface RedisCommands extends RedisLike {
  evalshaBuffer(sha: string, keyCount: number, ...args: (string | Buffer)[]): Promise<unknown>;
  evalBuffer(lua: string, keyCount: number, ...args: (string | Buffer)[]): Promise<unknown>;
  /** Which node of a Cluster holds a key, where the client tells itself. */
  shardOf?(key: string): string;
  /** Which of node-redis's clients it is, where it is one. A name that ioredis has not. */
  readonly nodeRedis?: NodeRedisKind;
  /** A connection of its own that hears what is published, where the client is not ioredis's. A name that ioredis has not. */
  openSubscriber?(): Promise<Subscriber>;
}

const log = debuglog("holdfast");

const needed = [
  "getBuffer",
  "evalshaBuffer",
  "evalBuffer",
  "time",
  "info",
  "connect",
  "quit",
  "disconnect",
  "on",
  "off",
];

/** Whether it has what the store uses. A pipeline has it too, and is none. */
export function isRedisCommands(client: unknown): client is RedisCommands {
  if (typeof client !== "object" || client === null || Reflect.get(client, "isPipeline") === true) return false;
  return needed.every((name) => typeof Reflect.get(client, name) === "function");
}

/**
 * Makes the URL form's own client. It connects at once, and its errors go to `NODE_DEBUG=holdfast`.
 * @throws {SessionError} `ERR_SESSION_OPTION` for a URL that is none, another scheme, or a missing ioredis
 */
export function openClient(url: string, settings: ConnectionSettings): RedisCommands {
  const target = parseRedisUrl(url, settings);
  const { Redis, Cluster } = loadRedis();
  const client = checkOwn(
    target.kind === "single"
      ? new Redis(target.url, target.options)
      : target.kind === "sentinel"
        ? new Redis(target.options)
        : new Cluster(target.nodes, target.options),
  );
  if (target.kind === "cluster") catchAsking(client);
  client.on("error", (error) => log("redis: %s", error instanceof Error ? error.message : error));
  return client;
}

/**
 * Before a command for a slot that is moving, ioredis's Cluster sends ASKING and drops the promise: one that is answered
 * too late, or whose connection is cut, would end the process by an unhandled rejection. The command fails by itself.
 */
function catchAsking(cluster: object): void {
  const { on } = cluster as EventEmitter; // ioredis's Cluster is one
  on.call(cluster, "+node", (node: object) => {
    const asking: unknown = Reflect.get(node, "asking");
    if (typeof asking !== "function") return;
    Reflect.set(node, "asking", async () => {
      await Promise.resolve(asking.call(node)).catch(() => undefined);
    });
  });
}

/**
 * Ends the pause that a client makes before it connects again. ioredis's own is up to two seconds (version 5) or five,
 * and sessions should be back when Redis is. The pending timer is taken away with it: left alone it would connect a
 * client again that was ended in the meantime. A client that keeps no such timer is left to itself.
 */
export function wakeClient(client: RedisLike): void {
  const timer: unknown = Reflect.get(client, "reconnectTimeout");
  if (client.status !== "reconnecting" || typeof timer !== "object" || timer === null) return;
  clearTimeout(timer as NodeJS.Timeout); // what setTimeout returned to ioredis
  Reflect.set(client, "reconnectTimeout", null);
  // A failure comes back as a state, and with the client's own next pause.
  client.connect().catch(() => undefined);
}

/**
 * Ends a client for good. A TLS handshake that is cut short may fail twice, and ioredis listens for one error: the second
 * would end the process.
 */
export function endClient(client: { disconnect(): void }): void {
  const stream: unknown = Reflect.get(client, "stream");
  if (stream instanceof Duplex) stream.on("error", () => undefined);
  client.disconnect();
}

/**
 * Whether a client that ended while it was connecting did so by mistake. With `failoverDetector` ioredis does: the news
 * of a new master ends the search for it, and the client for good. Not where somebody called `disconnect()`.
 */
export function isGivenUp(client: RedisLike): boolean {
  const isSentinel = Array.isArray(Reflect.get(client.options, "sentinels"));
  const tries = typeof Reflect.get(client.options, "sentinelRetryStrategy") === "function";
  return isSentinel && tries && Reflect.get(client, "manuallyClosing") !== true;
}

/**
 * Whether the client may have sent a command a second time by itself, without a word: one that was sent at `sentAt`
 * and is answered now. `readyAt`: when its connection was last ready.
 */
export function mayBeResent(client: RedisLike, sentAt: number, readyAt: number): boolean {
  if (Reflect.get(client, "isCluster") !== true) return readyAt > sentAt;
  const delayMs: unknown = Reflect.get(client.options, "retryDelayOnFailover");
  return typeof delayMs === "number" && delayMs > 0 && performance.now() - sentAt >= delayMs;
}

interface Ioredis {
  Redis: new (...args: (string | object)[]) => unknown;
  Cluster: new (nodes: object[], options: object) => unknown;
}

function loadRedis(): Ioredis {
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
  // ioredis is CommonJS; these are its classes in versions 5 and 6.
  return loaded as Ioredis;
}

function checkOwn(client: unknown): RedisCommands {
  if (isRedisCommands(client)) return client;
  throw new SessionError(
    "ERR_SESSION_OPTION",
    "redisStore(url): the installed ioredis is too old; install ioredis 5 or 6",
  );
}
