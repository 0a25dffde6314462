/**
 * Reads from a replica, where the caller can do with a record that is a little old. The bound is kept, not hoped for: a
 * replica is read only while it is known to have all that the master wrote up to `maxStaleness` ago, and never for a key
 * that this process wrote, or found ended, after what the replica is known to have. What it can't answer for (no replica,
 * an old one, a slow one, a record that is not live) is read from the master. `redis.ts` calls it.
 *
 * How it knows: the master's replication offset is asked for, then the replica's. Once that is as large, all that was
 * written before the question has arrived (Redis docs, INFO replication).
 */
import type { StoreCall } from "../store.ts";
import { endClient, openClient, type RedisCommands, type RedisLike } from "./redis-client.ts";
import { checkClient } from "./redis-client-check.ts";
import { type RedisStoreOptions, wrong } from "./redis-options.ts";
import { isCluster, NodeConnections, openOwn } from "./redis-own.ts";
import { within } from "./waits.ts";

/** A replica that takes longer is not waited for: the master is asked. */
const patienceMs = 100;

const own = { commandTimeout: 500 } as const;

/** Where a key may be read, and how fresh that is. */
interface Replica {
  connection: RedisLike;
  freshness: Freshness;
}

/**
 * What the options say of reads from replicas; `undefined`: none.
 * @throws {SessionError} `ERR_SESSION_OPTION` where there is no replica to be found, or two ways to one
 */
export function replicaReads(client: RedisCommands, options: RedisStoreOptions): ReplicaReads | undefined {
  const { readFrom, replica, maxStaleness: maxStalenessMs = 1_000 } = options;
  if (readFrom !== "replica") return undefined;
  if (client.nodeRedis === "cluster") {
    const cure =
      'a node-redis Cluster does not say where its replicas are; hand in an ioredis Cluster, or "redis+cluster://…"';
    throw wrong("redisStore option readFrom", readFrom, cure);
  }
  const knowsIts = isCluster(client) || Array.isArray(Reflect.get(client.options, "sentinels"));
  if (knowsIts && replica !== undefined) {
    throw wrong("redisStore option replica", replica, "leave it out: Sentinel and Cluster know their replicas");
  }
  if (!knowsIts && replica === undefined) {
    throw wrong(
      "redisStore option replica",
      replica,
      client.nodeRedis === "sentinel"
        ? 'node-redis does not say where its replicas are; hand in an ioredis client with Sentinels, or "redis+sentinel://…"'
        : 'a single Redis needs it for readFrom: "replica": a client or a URL',
    );
  }
  const isUrl = typeof replica === "string";
  const connection = replica === undefined ? undefined : isUrl ? openClient(replica, options) : checkClient(replica);
  return new ReplicaReads(client, { maxStalenessMs, replica: connection, isOwn: isUrl });
}

/** One store's reads from replicas. */
export class ReplicaReads {
  readonly #replicasOf: (key: string) => readonly Replica[];
  readonly #close: () => void;
  readonly #maxStalenessMs: number;
  /** When this process last learned something of a key from the master; oldest first. Monotonic ms. */
  readonly #learned = new Map<string, number>();

  /**
   * `replica`: the connection to read from, closed with the store where it `isOwn`; `undefined`: one of Sentinel's or
   * the Cluster's.
   * @throws {SessionError} `ERR_SESSION_OPTION` for a client that can't be duplicated
   */
  constructor(
    client: RedisCommands,
    settings: { maxStalenessMs: number; replica: RedisCommands | undefined; isOwn: boolean },
  ) {
    const { maxStalenessMs, replica, isOwn } = settings;
    this.#maxStalenessMs = maxStalenessMs;
    if (isCluster(client)) {
      const nodes = new NodeConnections(client, { ...own, readOnly: true }, (connection) => ({
        connection,
        freshness: new Freshness(connection, maxStalenessMs, false),
      }));
      this.#replicasOf = (key) => replicasOnShard(nodes, key);
      this.#close = () => nodes.close();
      return;
    }
    const connection = replica ?? openOwn(client, { ...own, role: "slave" });
    const freshness = new Freshness(connection, maxStalenessMs, replica === undefined || isOwn);
    freshness.follows(client);
    const only = [{ connection, freshness }];
    this.#replicasOf = () => only;
    this.#close = () => {
      freshness.close();
      if (replica === undefined || isOwn) endClient(connection);
    };
  }

  /** What a replica has under the key; `undefined`: none can say, or nothing is there. Never rejects. */
  async read(key: string, call: StoreCall): Promise<Buffer | undefined> {
    if (call.mayBeStale !== true) return undefined;
    const now = performance.now();
    const learnedAt = this.#learned.get(key) ?? Number.NEGATIVE_INFINITY;
    for (const { connection, freshness } of this.#replicasOf(key)) {
      freshness.keep();
      const { asOf } = freshness;
      if (connection.status !== "ready" || asOf <= learnedAt || now - asOf > this.#maxStalenessMs) continue;
      try {
        const found = await within(connection.getBuffer(key), Math.min(patienceMs, call.deadline - now));
        return found ?? undefined;
      } catch {
        // Whatever it was: the master is asked, and this replica has to prove itself again.
        freshness.forget();
        return undefined;
      }
    }
    return undefined;
  }

  /** This process wrote the key, or found it ended: an older state must not be shown any more. */
  learn(key: string): void {
    const now = performance.now();
    this.#learned.delete(key);
    this.#learned.set(key, now);
    // A replica that may be read at all is at most `maxStaleness` behind: what is older has arrived there.
    for (const [oldest, at] of this.#learned) {
      if (now - at <= this.#maxStalenessMs) break;
      this.#learned.delete(oldest);
    }
  }

  /** The same as soon as a write is sent, and again when it is answered, or isn't. */
  async learnFrom<T>(key: string, write: Promise<T>): Promise<T> {
    this.learn(key);
    try {
      return await write;
    } finally {
      this.learn(key);
    }
  }

  close(): void {
    this.#close();
  }
}

let turn = 0;

/** The replicas of a key's shard, each first in its turn. */
function replicasOnShard(nodes: NodeConnections<Replica>, key: string): readonly Replica[] {
  const [master, ...names] = nodes.nodesOf(key);
  const client = master === undefined ? undefined : nodes.clientOf(master);
  if (client === undefined || names.length === 0) return [];
  turn = (turn + 1) % names.length;
  return [...names.slice(turn), ...names.slice(0, turn)].map((name) => {
    const replica = nodes.to(name).wrapped;
    replica.freshness.follows(client);
    return replica;
  });
}

/** What INFO replication says of a server. */
interface Position {
  isReplica: boolean;
  isLinked: boolean;
  /** Which stream of writes it has, and how much of it. */
  stream: string;
  offset: number;
}

/** Up to when one replica is known to have everything. Asks while it is used, and not otherwise. */
class Freshness {
  readonly #replica: RedisLike;
  readonly #everyMs: number;
  readonly #mayRevive: boolean;
  #master: RedisLike | undefined;
  /** What the master had at which time, newest first, as far as the replica hasn't been seen with it. */
  #samples: { at: number; stream: string; offset: number }[] = [];
  #asOf = Number.NEGATIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;

  /** `mayRevive`: a connection that ended by itself is made again. */
  constructor(replica: RedisLike, maxStalenessMs: number, mayRevive: boolean) {
    this.#replica = replica;
    this.#mayRevive = mayRevive;
    this.#everyMs = Math.max(5, maxStalenessMs / 5);
    for (const event of ["ready", "end"] as const) replica.on(event, this.#onOther);
  }

  /** Everything that the master wrote before this is there. Monotonic ms. */
  get asOf(): number {
    return this.#asOf;
  }

  /** Whose writes it must have. */
  follows(master: RedisLike): void {
    if (this.#master === master) return;
    this.#master = master;
    this.forget();
  }

  forget(): void {
    this.#asOf = Number.NEGATIVE_INFINITY;
    this.#samples = [];
  }

  /** Asks again where it is time to, sooner while nothing is known; nobody waits for it. */
  keep(): void {
    const now = performance.now();
    const isKnown = this.#asOf !== Number.NEGATIVE_INFINITY;
    if (now - this.#askedAt < (isKnown ? this.#everyMs : Math.min(this.#everyMs, patienceMs))) return;
    this.#askedAt = now;
    this.#ask(now).catch(() => this.forget());
  }

  close(): void {
    for (const event of ["ready", "end"] as const) this.#replica.off(event, this.#onOther);
  }

  /** A connection anew may lead to another replica. */
  readonly #onOther = (): void => this.forget();

  async #ask(at: number): Promise<void> {
    if (this.#mayRevive && this.#replica.status === "end") await this.#replica.connect();
    if (this.#master?.status !== "ready" || this.#replica.status !== "ready") return this.forget();
    const master = await positionOf(this.#master);
    const samples = [{ at, ...master }, ...this.#samples].slice(0, 10);
    this.#samples = samples;
    const replica = await positionOf(this.#replica);
    // Forgotten meanwhile: the connection was lost, and what it said is of another server, or of another time.
    if (this.#samples !== samples) return;
    if (!replica.isReplica || !replica.isLinked || replica.stream !== master.stream) return this.forget();
    const arrived = samples.find(({ stream, offset }) => stream === replica.stream && offset <= replica.offset);
    if (arrived !== undefined) this.#asOf = Math.max(this.#asOf, arrived.at);
  }
}

async function positionOf(client: RedisLike): Promise<Position> {
  const text = String(await within(client.info("replication"), patienceMs));
  const field = (name: string): string => new RegExp(`^${name}:(.*?)\r?$`, "m").exec(text)?.[1] ?? "";
  const isReplica = field("role") === "slave";
  return {
    isReplica,
    isLinked: field("master_link_status") === "up",
    stream: field("master_replid"),
    offset: Number(field(isReplica ? "slave_repl_offset" : "master_repl_offset")),
  };
}
