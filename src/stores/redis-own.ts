/**
 * Connections that the store opens itself, after the pattern of the client that it was given: same server, password and
 * TLS, and the settings that decide how an outage ends. `redis-durability.ts` and `redis-replica.ts` use and close them.
 *
 * In a Cluster these are connections to single nodes. Which node serves a key is the given client's to know; a redirection
 * (MOVED, ASK) that one of these connections meets is followed here, as ioredis follows those of its own.
 */
import { debuglog } from "node:util";
import keySlot from "cluster-key-slot";
import { SessionError } from "../errors.ts";
import { endClient, isRedisCommands, type RedisCommands, type RedisLike } from "./redis-client.ts";
import { replyCode } from "./redis-failures.ts";

/** A connection of the store's own. ioredis has these methods; `RedisLike` asks only for those that every store needs. */
export interface OwnConnection extends RedisCommands {
  wait(replicas: number, withinMs: number): Promise<unknown>;
  asking(): Promise<unknown>;
  on(event: "ready" | "end" | "error" | "close", listener: (...args: unknown[]) => void): unknown;
}

const log = debuglog("holdfast");

const settings = {
  socketTimeout: 1_500,
  connectTimeout: 1_000,
  disconnectTimeout: 500,
  maxLoadingRetryTime: 250,
  // The store tries again itself, within its caller's time, and knows that it did.
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  // One connection, one order: WAIT is about what was sent on it before.
  enableAutoPipelining: false,
  failoverDetector: true,
  retryStrategy: (attempt: number): number => Math.min(50 * attempt, 250),
  // A connection to a master that became a replica is of no use any more.
  reconnectOnError: (error: Error): boolean => error.message.startsWith("READONLY"),
};

/**
 * Opens one more connection to where `client`, an ioredis `Redis`, is connected; `overrides` are ioredis options.
 * @throws {SessionError} `ERR_SESSION_OPTION` for a client that can't be duplicated
 */
export function openOwn(client: RedisLike, overrides: object): OwnConnection {
  const duplicate: unknown = Reflect.get(client, "duplicate");
  const made: unknown =
    typeof duplicate === "function" ? duplicate.call(client, { ...settings, ...overrides }) : undefined;
  if (!isOwnConnection(made)) {
    throw new SessionError(
      "ERR_SESSION_OPTION",
      "redisStore options durability and readFrom open connections of their own, and this client has no duplicate() that gives one; hand in an ioredis 5 or 6 client, or a URL",
    );
  }
  made.on("error", (error) => log("redis: %s", error instanceof Error ? error.message : error));
  return made;
}

function isOwnConnection(made: unknown): made is OwnConnection {
  return isRedisCommands(made) && ["wait", "asking"].every((name) => typeof Reflect.get(made, name) === "function");
}

/** What is used of an ioredis `Cluster` beyond `RedisLike`. Nodes are named `host:port`. */
export interface ClusterLike extends RedisLike {
  /** For each slot its master and replicas, as the client last heard. */
  readonly slots: readonly (readonly string[] | undefined)[];
  nodes(role: "all" | "master" | "slave"): RedisLike[];
  refreshSlotsCache(): void;
}

/** Whether a client is a Cluster. */
export function isCluster(client: RedisLike): client is RedisLike & ClusterLike {
  return Reflect.get(client, "isCluster") === true;
}

/** One of them, and what its user made of it. */
interface NodeConnection<T> {
  connection: OwnConnection;
  wrapped: T;
  /** Resolves when the connection is ready for the first time, rejects when it ended before. */
  opened: Promise<void>;
}

/** Connections of the store's own to single nodes of a Cluster, opened when first asked for. */
export class NodeConnections<T> {
  readonly #cluster: ClusterLike;
  readonly #overrides: object;
  readonly #wrap: (connection: OwnConnection) => T;
  readonly #byNode = new Map<string, NodeConnection<T>>();
  #isClosed = false;

  /** `wrap` makes of a new connection what `to` is to give. */
  constructor(cluster: ClusterLike, overrides: object, wrap: (connection: OwnConnection) => T) {
    this.#cluster = cluster;
    this.#overrides = overrides;
    this.#wrap = wrap;
  }

  /** The whole key, as Redis has it: ioredis's own `keyPrefix` is not for connections that it doesn't know. */
  keyOf(key: string): string {
    const prefix: unknown = Reflect.get(this.#cluster.options, "keyPrefix");
    return typeof prefix === "string" ? prefix + key : key;
  }

  /** Who serves a key: its master, then its replicas; empty while the client has not heard. */
  nodesOf(key: string): readonly string[] {
    return this.#cluster.slots[keySlot(this.keyOf(key))] ?? [];
  }

  /** The given client's own connection to a node, if it has one. */
  clientOf(node: string): RedisLike | undefined {
    return this.#cluster.nodes("all").find((client) => nameOf(client) === node);
  }

  /** The given client learns anew who serves what. Costs one command, however many ask at a time. */
  refresh(): void {
    this.#cluster.refreshSlotsCache();
  }

  /** Where a redirection leads, as the given client would translate it (`natMap`); `undefined`: the error is none. */
  redirection(error: unknown): { node: string; isAsking: boolean } | undefined {
    const code = replyCode(error);
    if ((code !== "MOVED" && code !== "ASK") || !(error instanceof Error)) return undefined;
    const told = error.message.split(" ")[2] ?? "";
    const natMap: unknown = Reflect.get(this.#cluster.options, "natMap");
    const inMap: unknown = typeof natMap === "object" && natMap !== null ? Reflect.get(natMap, told) : undefined;
    const mapped: unknown = typeof natMap === "function" ? natMap(told) : inMap;
    const node = typeof mapped === "object" && mapped !== null ? nameFrom(mapped) : told;
    return { node, isAsking: code === "ASK" };
  }

  /** The connection to a node; one that ended is opened anew. */
  to(node: string): NodeConnection<T> {
    const known = this.#byNode.get(node);
    if (known !== undefined) return known;
    if (this.#isClosed) throw new Error("the store was closed");
    const pattern = this.clientOf(node) ?? this.#cluster.nodes("all")[0];
    if (pattern === undefined) throw new Error("no node of the Cluster is known");
    const at = node.lastIndexOf(":");
    const connection = openOwn(pattern, {
      host: node.slice(0, at),
      port: Number(node.slice(at + 1)),
      keyPrefix: "",
      readOnly: false,
      lazyConnect: false,
      // A node that is gone must not be knocked at for ever: after the third time whoever needs it begins anew.
      retryStrategy: (attempt: number) => (attempt > 3 ? null : 100 * attempt),
      ...this.#overrides,
    });
    const made = { connection, wrapped: this.#wrap(connection), opened: opening(connection) };
    this.#byNode.set(node, made);
    connection.on("end", () => {
      if (this.#byNode.get(node)?.connection === connection) this.#byNode.delete(node);
    });
    return made;
  }

  close(): void {
    this.#isClosed = true;
    for (const { connection } of this.#byNode.values()) endClient(connection);
    this.#byNode.clear();
  }
}

function nameOf(client: RedisLike): string {
  return nameFrom(client.options);
}

function nameFrom(options: object): string {
  return `${String(Reflect.get(options, "host"))}:${String(Reflect.get(options, "port"))}`;
}

/** Resolves when the connection is ready for the first time. @throws Error when it ended before */
function opening(connection: OwnConnection): Promise<void> {
  const opened = new Promise<void>((resolve, reject) => {
    connection.on("ready", () => resolve());
    connection.on("end", () => reject(new Error("no connection (end)")));
  });
  // Not everybody waits for it.
  opened.catch(() => undefined);
  return opened;
}
