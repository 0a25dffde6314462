/**
 * The Redis store: one string per session, `<prefix><key>`, read with one GET, changed by one script. Published as
 * `holdfast/redis`. The record's format is in `redis-header.ts`, the scripts in `redis-scripts.ts`, connection and
 * retries in `redis-link.ts`; this file puts the verbs together.
 *
 * Redis 6.2 or later. ACL users need: get, time, info, evalsha, eval; and for the scripts type, getrange, set, setrange,
 * pexpireat, unlink. Sessions need `maxmemory-policy noeviction` or `volatile-*` with room: what Redis evicts is lost.
 */
import { SessionError } from "../errors.ts";
import type { EndReason, NewRecord, StoreRecord, TouchResult, WriteResult } from "../store.ts";
import { argumentOf, newToken } from "./redis-arguments.ts";
import { openClient, type RedisCommands, type RedisLike, shardOf } from "./redis-client.ts";
import { checkClient } from "./redis-client-check.ts";
import { RedisClock } from "./redis-clock.ts";
import { replyCode } from "./redis-failures.ts";
import type { NodeRedisLike } from "./redis-from-node-redis.ts";
import {
  encodeTime,
  encodeTimes,
  encodeTombstone,
  keyMark,
  kindLetter,
  otherRevision,
  parseRecord,
} from "./redis-header.ts";
import { RedisLanes } from "./redis-lanes.ts";
import { RedisLink, type ScriptReply } from "./redis-link.ts";
import { outcome, removeScript, touchScript, writeScript } from "./redis-scripts.ts";
import type { ConnectionSettings } from "./redis-url.ts";
import { SharedReads } from "./shared-reads.ts";
import type { Era, TrackableStore, TrackedCall, TrackedStore } from "./tracking.ts";

export type { RedisLike } from "./redis-client.ts";
export type { NodeRedisLike } from "./redis-from-node-redis.ts";
export type { ConnectionSettings } from "./redis-url.ts";

/** Options of `redisStore`. The connection's own settings count for the URL form only. */
export interface RedisStoreOptions extends ConnectionSettings {
  /**
   * What each key begins with, after the client's own `keyPrefix`. Without braces: in a Cluster `{…}` would put all
   * sessions on one node. @default "holdfast:"
   */
  prefix?: string;
  /**
   * Another clock, epoch ms, instead of Redis's. For tests: every node must have the same one.
   * @default Redis's clock
   */
  clock?: () => number;
}

const settingNames = ["commandTimeout", "socketTimeout", "tls"] as const;
const optionNames: readonly string[] = ["prefix", "clock", ...settingNames];

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
): TrackableStore {
  const { prefix = "holdfast:", clock } = checkOptions(options, typeof clientOrUrl === "string");
  const isOwn = typeof clientOrUrl === "string";
  const client = isOwn ? openClient(clientOrUrl, options) : checkClient(clientOrUrl);
  return new RedisStore(client, { isOwn, prefix, clock: clock === undefined ? new RedisClock() : { now: clock } });
}

interface Settings {
  isOwn: boolean;
  prefix: string;
  clock: RedisClock | { now(): number };
  /** On tracked connections; made by `track`. */
  lanes?: RedisLanes;
}

const otherType = "a Redis key that is no string";

class RedisStore implements TrackableStore, TrackedStore {
  readonly #client: RedisCommands;
  readonly #settings: Settings;
  readonly #link: RedisLink;
  readonly #prefix: string;
  readonly #reads = new SharedReads();
  /** What the scripts take for the time: `""` is Redis's own. */
  readonly #scriptTime: () => string;

  constructor(client: RedisCommands, settings: Settings) {
    const { isOwn, prefix, clock, lanes } = settings;
    const own = clock instanceof RedisClock ? clock : undefined;
    this.#client = client;
    this.#settings = settings;
    this.#prefix = prefix;
    this.#scriptTime = own === undefined ? () => String(clock.now()) : () => "";
    this.#link = new RedisLink(client, { isOwn, clock: own, ...(lanes === undefined ? {} : { lanes }) });
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
    return this.#reads.join(key, call, (told) => this.#read(key, told));
  }

  async #read(key: string, call: TrackedCall): Promise<StoreRecord | undefined> {
    const raw = await this.#link.run("read", this.#prefix + key, call, async (client) => {
      try {
        return await client.getBuffer(this.#prefix + key);
      } catch (error) {
        if (replyCode(error) === "WRONGTYPE") return otherType;
        throw error;
      }
    });
    if (raw === null) return undefined;
    if (typeof raw === "string") return { kind: "garbage", detail: raw };
    return parseRecord(key, raw, this.now());
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
    ]);
    if (answer.outcome === outcome.done) return { ok: true, version };
    const current = standing(key, answer);
    return answer.isRepeated ? { ok: false, current, isUncertain: true } : { ok: false, current };
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
    const answer = await this.#run("remove", key, call, removeScript, [tombstone]);
    return standing(key, answer);
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  async #run(
    verb: string,
    key: string,
    call: TrackedCall,
    script: typeof writeScript,
    args: readonly (string | Buffer)[],
  ): Promise<ScriptReply> {
    const answer = await this.#link.script(verb, this.#prefix + key, call, script, [
      this.#scriptTime(),
      keyMark(key),
      ...args,
    ]);
    if (answer.outcome === outcome.otherRevision) throw otherRevision("another than H1");
    return answer;
  }
}

/** What a script found under the key, by the time at which it looked. */
function standing(key: string, answer: ScriptReply): StoreRecord | undefined {
  if (answer.outcome === outcome.otherType) return { kind: "garbage", detail: otherType };
  return answer.record === undefined ? undefined : parseRecord(key, answer.record, answer.now);
}

function checkOptions(options: unknown, isUrl: boolean): RedisStoreOptions {
  if (typeof options !== "object" || options === null)
    throw wrong("redisStore(…, options)", options, "write an object");
  for (const name of Object.keys(options)) {
    if (!optionNames.includes(name))
      throw wrong(`redisStore option ${name}`, "an unknown option", `there are ${optionNames.join(", ")}`);
  }
  // Checked field by field below.
  const given = options as RedisStoreOptions;
  if (given.prefix !== undefined && typeof given.prefix !== "string") {
    throw wrong("redisStore option prefix", given.prefix, 'write a string such as "holdfast:"');
  }
  if (given.clock !== undefined && typeof given.clock !== "function") {
    throw wrong("redisStore option clock", given.clock, "write a function that returns epoch ms");
  }
  for (const name of settingNames) {
    const value: unknown = given[name];
    if (value === undefined) continue;
    if (!isUrl)
      throw wrong(`redisStore option ${name}`, value, "it is for the URL form; set it on the client you hand in");
    const isFine = name === "tls" ? typeof value === "object" && value !== null : isTimeout(value);
    if (!isFine)
      throw wrong(
        `redisStore option ${name}`,
        value,
        name === "tls" ? "write node:tls options" : "write whole ms from 1",
      );
  }
  return given;
}

function isTimeout(value: unknown): boolean {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 1 && value < 2 ** 31;
}

function wrong(what: string, received: unknown, cure: string): SessionError {
  const shown =
    typeof received === "string"
      ? received
      : typeof received === "object" && received !== null
        ? "an object"
        : String(received);
  return new SessionError("ERR_SESSION_OPTION", `${what}: received ${shown}; ${cure}`);
}
