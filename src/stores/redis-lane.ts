/**
 * One lane: two connections of our own to one Redis master. What is read on the first is tracked by Redis, and the
 * second, in RESP2, hears when it changes (`CLIENT TRACKING ON REDIRECT <id of the second> NOLOOP`). `redis-lanes.ts`
 * holds one for each master, and `redis-link.ts` sends commands on it. Knows no records and no sessions.
 *
 * Tracking dies silently: with either connection, with a role that changed, with a proxy that forgot one of them. So
 * nothing is repaired. The pair is thrown away at the first doubt, its era is over, and a new pair begins a new era.
 * And nothing is believed for longer than `leaseMs` without proof: every `beatMs` a PING runs through the second
 * connection, behind every message that was sent before it, and the first one has to find a master still.
 */
import { debuglog } from "node:util";
import { endClient, type RedisCommands, type RedisEvent } from "./redis-client.ts";
import { replyCode } from "./redis-failures.ts";
import type { Era } from "./tracking.ts";

const log = debuglog("holdfast");

const beatMs = 1_000;
/** From a PING's departure to the end of the trust that its answer gave. */
const leaseMs = 2_500;
const firstPauseMs = 50;
const longestPauseMs = 1_000;

const channel = "__redis__:invalidate";

/** An ioredis `Redis` (no Cluster), version 5 or 6, as a lane uses it. */
export interface LaneClient extends RedisCommands {
  call(name: string, ...args: string[]): Promise<unknown>;
  info(section?: string): Promise<string>;
  subscribe(channel: string): Promise<unknown>;
  ping(): Promise<unknown>;
  on(event: RedisEvent | "messageBuffer", listener: (...args: unknown[]) => void): unknown;
}

/** Two connections to the same server, neither of them connected yet. */
export interface Pair {
  /** What is read here is tracked. */
  data: LaneClient;
  /** RESP2; hears what changed. */
  ear: LaneClient;
}

/** Whom a lane reports to. */
export interface LaneOwner {
  /** Makes the two clients. */
  connect(): Pair;
  /** Whether the master is one of a Cluster, where it counts only with the others. */
  readonly isInCluster: boolean;
  /** Whether a connection leads to a master that was, or may have been, given up: another one takes the changes that it should report. */
  hasReplaced(connection: RedisCommands): boolean;
  /** A key as it stands in Redis, changed by somebody else. */
  onChange(key: string): void;
  /** Tracking could not be switched on, for a reason that waiting may not cure. */
  onRefusal(reason: string): void;
}

/** Tracked connections to one master. */
export class Lane {
  readonly #owner: LaneOwner;
  #pair: Pair | undefined;
  #era: Era | undefined;
  #beat: NodeJS.Timeout | undefined;
  #failures = 0;
  #retryAt = 0;
  #isClosed = false;

  constructor(owner: LaneOwner) {
    this.#owner = owner;
  }

  /** The era that is under way; `undefined`: none. Asking begins the next one, no more often than the pauses allow. */
  get era(): Era | undefined {
    if (this.#era === undefined && this.#pair === undefined && !this.#isClosed && performance.now() >= this.#retryAt) {
      void this.#begin();
    }
    return this.#era;
  }

  /** Where tracked commands go; only while there is an era. */
  get client(): RedisCommands | undefined {
    return this.#pair?.data;
  }

  /** A command on `client` failed: does that put the pair in doubt? */
  failed(era: Era, error: unknown): void {
    const code = replyCode(error);
    if (code !== undefined && !doubtful.has(code)) return;
    if (this.#era === era && this.#pair !== undefined) this.#lose(this.#pair, error);
  }

  /** Begins anew: the master may be another one. */
  reset(reason: string): void {
    if (this.#pair !== undefined) this.#lose(this.#pair, new Error(reason));
  }

  /** Something was heard of the master: is it still the one? */
  review(): void {
    if (this.#pair !== undefined && this.#owner.hasReplaced(this.#pair.data)) this.reset("its master was given up");
  }

  close(): void {
    this.#isClosed = true;
    this.reset("closed");
  }

  async #begin(): Promise<void> {
    let pair: Pair | undefined;
    try {
      pair = this.#owner.connect();
      this.#pair = pair;
      await this.#arm(pair);
    } catch (error) {
      if (pair === undefined || this.#pair !== pair) return;
      if (replyCode(error) !== undefined) this.#owner.onRefusal(error instanceof Error ? error.message : String(error));
      this.#lose(pair, error);
    }
  }

  async #arm(pair: Pair): Promise<void> {
    const { data, ear } = pair;
    for (const client of [data, ear]) {
      client.on("error", (error) => log("near cache: %s", error));
      client.on("close", () => this.#lose(pair, new Error("a connection was closed")));
    }
    await Promise.all([data.connect(), ear.connect()]);
    const [id, ...servers] = await Promise.all([ear.call("CLIENT", "ID"), runIdOf(ear), runIdOf(data)]);
    // Two servers behind one name, or a failover in between: the number would be another client's.
    if (servers[0] !== servers[1]) throw new Error("the two connections reached two servers");
    ear.on("messageBuffer", (_channel, keys) => this.#hear(pair, keys));
    await ear.subscribe(channel);
    await data.call("CLIENT", "TRACKING", "ON", "REDIRECT", String(id), "NOLOOP");
    const confirmedAt = await prove(pair, this.#owner.isInCluster);
    if (this.#pair !== pair) return;
    if (this.#owner.hasReplaced(data)) throw new Error("the master was given up");
    this.#failures = 0;
    this.#era = { confirmedAt, trustedUntil: confirmedAt + leaseMs, isFlushed: false };
    this.#beat = setInterval(() => void this.#renew(pair), beatMs);
    this.#beat.unref();
    log("near cache: tracking is on");
  }

  async #renew(pair: Pair): Promise<void> {
    try {
      const confirmedAt = await prove(pair, this.#owner.isInCluster);
      if (this.#pair !== pair || this.#era === undefined) return;
      this.#era.confirmedAt = confirmedAt;
      this.#era.trustedUntil = confirmedAt + leaseMs;
    } catch (error) {
      this.#lose(pair, error);
    }
  }

  /** The payload is an array of keys, or `null` after FLUSHALL and FLUSHDB. */
  #hear(pair: Pair, keys: unknown): void {
    if (this.#pair !== pair) return;
    if (Array.isArray(keys)) {
      for (const key of keys) this.#owner.onChange(String(key));
      return;
    }
    const era = this.#era;
    if (era === undefined) return;
    this.#era = { ...era };
    end(era);
    era.isFlushed = true;
  }

  #lose(pair: Pair, error: unknown): void {
    if (this.#pair !== pair) return;
    log("near cache: tracking is off: %s", error instanceof Error ? error.message : error);
    this.#pair = undefined;
    if (this.#era !== undefined) end(this.#era);
    this.#era = undefined;
    clearInterval(this.#beat);
    this.#retryAt = performance.now() + Math.min(firstPauseMs * 2 ** this.#failures, longestPauseMs);
    this.#failures++;
    endClient(pair.data);
    endClient(pair.ear);
  }
}

/** Replies that say that this is no master any more, or none that counts. */
const doubtful: ReadonlySet<string> = new Set(["CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY"]);

function end(era: Era): void {
  era.trustedUntil = 0;
}

async function runIdOf(client: LaneClient): Promise<string | undefined> {
  return /^run_id:(\w+)/m.exec(await client.info("server"))?.[1];
}

/** That the way of the messages works, and that who sends them is the master. Resolves to when the proof began. */
async function prove({ data, ear }: Pair, isInCluster: boolean): Promise<number> {
  const sentAt = performance.now();
  const [replication, cluster] = await Promise.all([
    data.info("replication"),
    isInCluster ? data.call("CLUSTER", "INFO") : "cluster_state:ok",
    ear.ping(),
  ]);
  if (!replication.includes("role:master")) throw new Error("the server is no master any more");
  if (!String(cluster).includes("cluster_state:ok")) throw new Error("the Cluster is down");
  return sentAt;
}
