/**
 * The Redis store: one string per session, `<prefix><key>`, read with one GET, changed by one script. Published as
 * `holdfast/redis`. The record's format is in `redis-header.ts`, the scripts in `redis-scripts.ts`, retries in
 * `redis-link.ts`, the connection in `redis-connection.ts`; this file puts the verbs together.
 *
 * Redis 6.2 or later. What an ACL user needs is in `redis-failures.ts`, and in the error of one who has less; readonly
 * besides for `readFrom` in a Cluster. `maxmemory-policy noeviction`, or `volatile-*` with room: what it evicts is lost.
 */
import type { Announcing, Endings } from "../endings.ts";
import type { Expiring, ExpiryIndex } from "../expiry-index.ts";
import type { Indexed, PrincipalIndex } from "../principal-index.ts";
import type { EndReason, NewRecord, StoreRecord, TouchResult, WriteResult } from "../store.ts";
import { argumentOf, newToken } from "./redis-arguments.ts";
import { endClient, openClient, type RedisCommands, type RedisLike } from "./redis-client.ts";
import { checkClient } from "./redis-client-check.ts";
import { RedisClock } from "./redis-clock.ts";
import { DurableWrites } from "./redis-durability.ts";
import { endingMessage, RedisEndings } from "./redis-endings.ts";
import { RedisExpiry } from "./redis-expiry.ts";
import { replyCode } from "./redis-failures.ts";
import type { NodeRedisLike } from "./redis-from-node-redis.ts";
import {
  carries,
  encodeTime,
  encodeTimes,
  encodeTombstone,
  keyMark,
  kindLetter,
  otherRevision,
  parseRecord,
} from "./redis-header.ts";
import { RedisIndex } from "./redis-index.ts";
import { RedisLanes } from "./redis-lanes.ts";
import { RedisLink, type ScriptReply } from "./redis-link.ts";
import { checkOptions, type RedisStoreOptions } from "./redis-options.ts";
import { type ReplicaReads, replicaReads } from "./redis-replica.ts";
import { outcome, removeScript, touchScript, writeScript } from "./redis-scripts.ts";
import { shardOf } from "./redis-shards.ts";
import { SharedReads } from "./shared-reads.ts";
import type { Era, TrackableStore, TrackedCall, TrackedStore } from "./tracking.ts";

export type { RedisLike } from "./redis-client.ts";
export type { DurabilityOptions } from "./redis-durability.ts";
export type { NodeRedisLike } from "./redis-from-node-redis.ts";
export type { RedisStoreOptions } from "./redis-options.ts";
export type { ConnectionSettings } from "./redis-url.ts";

/**
 * Makes a store on Redis.
 *
 * @param clientOrUrl an ioredis `Redis` (single, Sentinel) or `Cluster`, version 5 or 6, which is left as it is and
 *   yours to close; or a URL, for which the store makes, and closes, a client of its own that fails over:
 *   `redis://host`, `redis+sentinel://host,host?name=mymaster`, `redis+cluster://host,host`, and `rediss…` for TLS
 * @throws {SessionError} `ERR_SESSION_OPTION` for a wrong client, URL or option
 */
export function redisStore(
  clientOrUrl: RedisLike | NodeRedisLike | string,
  options: RedisStoreOptions = {},
): CapableStore {
  const isOwn = typeof clientOrUrl === "string";
  const { prefix = "holdfast:", clock: given, durability } = checkOptions(options, isOwn);
  const client = isOwn ? openClient(clientOrUrl, options) : checkClient(clientOrUrl);
  const own = given === undefined ? new RedisClock() : undefined;
  const clock = own ?? { now: given ?? Date.now };
  try {
    const replicas = replicaReads(client, options);
    const durable = durability === undefined ? undefined : new DurableWrites(client, durability, own);
    return new RedisStore(client, { isOwn, gathers: isOwn, prefix, clock, durable, replicas });
  } catch (error) {
    if (isOwn) endClient(client);
    throw error;
  }
}

interface Settings {
  /** The client is closed with the store. */
  isOwn: boolean;
  /** The connections are the store's own, so that it may gather what leaves on them. */
  gathers: boolean;
  prefix: string;
  clock: RedisClock | { now(): number };
  durable: DurableWrites | undefined;
  replicas: ReplicaReads | undefined;
  /** On tracked connections; made by `track`. */
  lanes?: RedisLanes;
}

/** A store with all capabilities. */
export type CapableStore = TrackableStore & Indexed & Announcing & Expiring;

const otherType = "a Redis key that is no string";

/** What a read is answered where another kind of key stands. */
function asOtherType(error: unknown): string {
  if (replyCode(error) === "WRONGTYPE") return otherType;
  throw error;
}

class RedisStore implements TrackableStore, TrackedStore, Indexed, Announcing, Expiring {
  readonly principals: PrincipalIndex;
  readonly endings: Endings;
  readonly expiries: ExpiryIndex;
  readonly #channel: string;
  readonly #client: RedisCommands;
  readonly #settings: Settings;
  readonly #link: RedisLink;
  readonly #prefix: string;
  readonly #reads = new SharedReads();
  /** What the scripts take for the time: `""` is Redis's own. */
  readonly #scriptTime: () => string;

  constructor(client: RedisCommands, settings: Settings) {
    const { isOwn, gathers, prefix, clock, lanes } = settings;
    const own = clock instanceof RedisClock ? clock : undefined;
    this.#client = client;
    this.#settings = settings;
    this.#prefix = prefix;
    this.#scriptTime = own === undefined ? () => String(clock.now()) : () => "";
    this.#link = new RedisLink(client, { isOwn, gathers, clock: own, lanes });
    const keys = { link: this.#link, prefix, scriptTime: this.#scriptTime };
    this.#channel = `${prefix}ended`;
    this.endings = new RedisEndings(client, this.#channel);
    this.expiries = new RedisExpiry(keys);
    this.principals = new RedisIndex(keys);
  }

  now(): number {
    return this.#settings.clock.now();
  }

  shardOf(key: string): string {
    return shardOf(this.#client, this.#prefix + key);
  }

  track(onChange: (key: string) => void): TrackedStore {
    const lanes = new RedisLanes(this.#client, (key) => {
      if (key.startsWith(this.#prefix)) onChange(key.slice(this.#prefix.length));
    });
    return new RedisStore(this.#client, { ...this.#settings, isOwn: false, lanes });
  }

  eraOf(key: string): Era | undefined {
    return this.#settings.lanes?.of(this.#prefix + key)?.era;
  }

  read(key: string, call: TrackedCall): Promise<StoreRecord | undefined> {
    const { replicas, lanes } = this.#settings;
    // What a near cache keeps is read where its changes are reported.
    if (replicas === undefined || lanes !== undefined || call.mayBeStale !== true) return this.#readMaster(key, call);
    return this.#readNear(replicas, key, call);
  }

  async #readNear(replicas: ReplicaReads, key: string, call: TrackedCall): Promise<StoreRecord | undefined> {
    const near = await replicas.read(this.#prefix + key, call);
    const record = near === undefined ? undefined : parseRecord(key, near, this.now());
    // An end, a pointer or a miss may be older than a login: only what is alive is taken from a replica.
    return record?.kind === "live" ? record : this.#readMaster(key, call);
  }

  #readMaster(key: string, call: TrackedCall): Promise<StoreRecord | undefined> {
    return this.#reads.join(key, call, (told) => this.#read(key, told));
  }

  async #read(key: string, call: TrackedCall): Promise<StoreRecord | undefined> {
    const at = this.#prefix + key;
    const raw = await this.#link.run("read", at, call, (client) => client.getBuffer(at).catch(asOtherType));
    if (typeof raw === "string") return { kind: "garbage", detail: raw };
    const record = raw === null ? undefined : parseRecord(key, raw, this.now());
    if (record?.kind !== "live") this.#settings.replicas?.learn(at);
    return record;
  }

  async write(
    key: string,
    record: NewRecord,
    expected: "absent" | (string & {}),
    call: TrackedCall,
  ): Promise<WriteResult> {
    // The token is made once a call: a repeat after a lost answer is recognised by it.
    const version = newToken();
    const answer = await this.#run("write", key, call, writeScript, [
      version,
      expected,
      kindLetter(record),
      encodeTimes(record),
      argumentOf(record.payload),
      this.#settings.durable?.covers(call) === true ? "1" : "",
      ...(record.kind === "moved" ? [this.#channel, endingMessage(key, "moved")] : []),
    ]);
    if (answer.outcome === outcome.done) return { ok: true, version };
    const refused = { ok: false, current: standing(key, answer) } as const;
    return answer.isRepeated && !carries(answer.record, expected) ? { ...refused, isUncertain: true } : refused;
  }

  async touch(
    key: string,
    stamp: { version: string; touchedAt: number; expiresAt: number },
    call: TrackedCall,
  ): Promise<TouchResult> {
    const args = [stamp.version, encodeTime(stamp.touchedAt), encodeTime(stamp.expiresAt)];
    const answer = await this.#run("touch", key, call, touchScript, args);
    if (answer.outcome === outcome.done) return "touched";
    return answer.outcome === outcome.superseded ? "superseded" : "gone";
  }

  async remove(
    key: string,
    end: { reason: EndReason; until: number },
    call: TrackedCall,
  ): Promise<StoreRecord | undefined> {
    // The token is made once a call: a repeat after a lost answer is recognised by it, and told what stood there.
    const tombstone = encodeTombstone(key, end, this.now(), newToken());
    const answer = await this.#run("remove", key, call, removeScript, [
      tombstone,
      this.#channel,
      endingMessage(key, end.reason),
    ]);
    return standing(key, answer);
  }

  async close(): Promise<void> {
    const { durable, replicas, lanes } = this.#settings;
    // A tracked store shares them with the one that it was made of.
    if (lanes === undefined) replicas?.close();
    await Promise.all([lanes === undefined ? durable?.close() : undefined, this.#link.close()]);
  }

  async #run(
    verb: string,
    key: string,
    call: TrackedCall,
    script: typeof writeScript,
    args: readonly (string | Buffer)[],
  ): Promise<ScriptReply> {
    const { durable, replicas } = this.#settings;
    const at = this.#prefix + key;
    const link = durable?.covers(call) === true ? durable : this.#link;
    const arrived = link.script(verb, at, call, script, [this.#scriptTime(), keyMark(key), ...args]);
    // Whatever comes of it: the master may have it from here on.
    const answer = await (replicas === undefined ? arrived : replicas.learnFrom(at, arrived));
    if (answer.outcome === outcome.otherRevision) throw otherRevision("another than H1");
    return answer;
  }
}

/** What a script found under the key, by the time at which it looked. */
function standing(key: string, answer: ScriptReply): StoreRecord | undefined {
  if (answer.outcome === outcome.otherType) return { kind: "garbage", detail: otherType };
  return answer.record === undefined ? undefined : parseRecord(key, answer.record, answer.now);
}
