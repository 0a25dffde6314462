/**
 * Which lane a key takes: the only one with a single Redis or Sentinel, that of the slot's master in a Cluster. Makes
 * the lanes' clients as duplicates of the user's, whose own connection stays as it is. `redis.ts` makes one of these
 * for each near cache; `redis-link.ts` asks it.
 */
import { SessionError } from "../errors.ts";
import type { RedisCommands } from "./redis-client.ts";
import type { FailoverWatch } from "./redis-failover.ts";
import { Lane, type LaneClient, type Pair } from "./redis-lane.ts";
import { shardOf } from "./redis-shards.ts";

/** An ioredis `Redis` that lanes can be made of. */
interface Duplicable extends RedisCommands {
  duplicate(override: object): LaneClient;
}

/** What the lanes use of an ioredis `Cluster`. */
interface ClusterClient extends RedisCommands {
  nodes(role: "master"): (Duplicable & { options: { host?: unknown; port?: unknown } })[];
}

/** The lanes of one near cache. */
export class RedisLanes {
  readonly #client: RedisCommands;
  /** What ioredis puts before each key. */
  readonly #keyPrefix: string;
  readonly #onChange: (key: string) => void;
  readonly #single: Lane | undefined;
  readonly #byNode = new Map<string, Lane>();
  #failovers: FailoverWatch | undefined;
  #wasReady: boolean;
  #hasWarned = false;

  /** @throws {SessionError} `ERR_SESSION_OPTION` for a client that has no duplicates */
  constructor(client: RedisCommands, onChange: (key: string) => void) {
    this.#client = client;
    const { keyPrefix } = client.options as { keyPrefix?: unknown };
    this.#keyPrefix = typeof keyPrefix === "string" ? keyPrefix : "";
    this.#onChange = onChange;
    this.#wasReady = client.status === "ready";
    if (!isCluster(client)) {
      if (!isDuplicable(client)) throw notTrackable();
      this.#single = this.#laneOf(client);
    }
    client.on("ready", this.#onReady);
  }

  /** The lane of a key (without ioredis's own prefix); `undefined`: none can be told. Synchronous and cheap. */
  of(key: string): Lane | undefined {
    if (this.#single !== undefined) return this.#single;
    const client = this.#client;
    if (!isCluster(client)) return undefined;
    const name = shardOf(client, key);
    const known = this.#byNode.get(name);
    if (known !== undefined) return known;
    const node = client.nodes("master").find(({ options }) => `${options.host}:${options.port}` === name);
    if (node === undefined) return undefined;
    const lane = this.#laneOf(node);
    this.#byNode.set(name, lane);
    return lane;
  }

  /** From now on no lane counts that leads to a master which the Sentinels gave up. Behind Sentinel there is one lane. */
  heed(failovers: FailoverWatch): void {
    this.#failovers = failovers;
    failovers.onNews(() => this.#single?.review());
  }

  /** Ends every connection that was made here. */
  close(): void {
    this.#client.off("ready", this.#onReady);
    this.#single?.close();
    for (const lane of this.#byNode.values()) lane.close();
    this.#byNode.clear();
  }

  /** The user's client connected anew, to another master perhaps: the lanes must not lag behind. */
  readonly #onReady = (): void => {
    const isFirst = !this.#wasReady;
    this.#wasReady = true;
    if (isFirst) return;
    this.#single?.reset("the client connected anew");
    for (const lane of this.#byNode.values()) lane.close();
    this.#byNode.clear();
  };

  #laneOf(client: Duplicable): Lane {
    return new Lane({
      isInCluster: isCluster(this.#client),
      hasReplaced: (connection) => {
        const failovers = this.#failovers;
        return failovers !== undefined && (!failovers.isInformed || failovers.hasReplaced(connection));
      },
      connect: () => pairOf(client, this.#keyPrefix),
      onChange: (key) => {
        if (key.startsWith(this.#keyPrefix)) this.#onChange(key.slice(this.#keyPrefix.length));
      },
      onRefusal: (reason) => this.#warn(reason),
    });
  }

  #warn(reason: string): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    process.emitWarning(
      `the near cache can't have its records tracked, so every read goes to Redis: ${reason}. It needs Redis 6 or later without a proxy that hides CLIENT, and an ACL user with +client|id +client|tracking +info +ping +subscribe and the channel __redis__:invalidate.`,
      { type: "HoldfastWarning", code: "HOLDFAST_NEAR_CACHE" },
    );
  }
}

/** One life each: a pair that failed is replaced, never repaired. */
function pairOf(client: Duplicable, keyPrefix: string): Pair {
  const { commandTimeout } = client.options as { commandTimeout?: unknown };
  const once = {
    keyPrefix,
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    retryStrategy: null,
    sentinelRetryStrategy: null,
    reconnectOnError: null,
    connectTimeout: 2_500,
    commandTimeout: typeof commandTimeout === "number" ? commandTimeout : 500,
  };
  return {
    data: client.duplicate({ ...once, connectionName: "holdfast-near-cache" }),
    // Only a connection in RESP2 hears the messages as Pub/Sub.
    ear: client.duplicate({
      ...once,
      connectionName: "holdfast-near-cache-ear",
      protocol: 2,
      replyMapping: "legacy",
      enableAutoPipelining: false,
    }),
  };
}

function isCluster(client: RedisCommands): client is ClusterClient {
  return Reflect.get(client, "isCluster") === true;
}

function isDuplicable(client: RedisCommands): client is Duplicable {
  return typeof Reflect.get(client, "duplicate") === "function" && typeof Reflect.get(client, "call") === "function";
}

function notTrackable(): SessionError {
  return new SessionError(
    "ERR_SESSION_OPTION",
    "nearCache(store): received a store on a client that can't be tracked (node-redis?); make it of an ioredis client, or of a URL",
  );
}
