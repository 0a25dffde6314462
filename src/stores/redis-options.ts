/**
 * The options of the Redis store: what a user writes, checked once at start-up. `redis.ts` calls it.
 */
import { SessionError } from "../errors.ts";
import type { RedisLike } from "./redis-client.ts";
import type { DurabilityOptions } from "./redis-durability.ts";
import type { ConnectionSettings } from "./redis-url.ts";

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
  /**
   * Replicas confirm writes before their call resolves: `{}` for the defaults, one replica for logins, rotations and
   * ends. @default none: a failover may undo the last writes
   */
  durability?: DurabilityOptions;
  /**
   * `"replica"`: a request's first read of its session may be answered by a replica, where this process didn't write
   * that session itself a moment ago. It may so see what the session was up to `maxStaleness` ago: a change or a logout
   * made through another node shows that much later. A write on top of it is refused and merged, never lost.
   * @default "master"
   */
  readFrom?: "master" | "replica";
  /** How old a replica's answer may be, in whole ms from 1. One that is farther behind is not asked. @default 1000 */
  maxStaleness?: number;
  /**
   * The replica of a single Redis, with `readFrom: "replica"`: an ioredis client, yours to close, or a URL. Sentinel and
   * Cluster know their own.
   */
  replica?: RedisLike | string;
}

const settingNames = ["commandTimeout", "socketTimeout", "tls"] as const;
const replicaNames = ["maxStaleness", "replica"] as const;
const optionNames: readonly string[] = ["prefix", "clock", "durability", "readFrom", ...replicaNames, ...settingNames];
const durabilityNames: readonly string[] = ["replicas", "timeout", "for", "onShortfall"];

/**
 * The options, checked. `isUrl`: the store makes its own client.
 * @throws {SessionError} `ERR_SESSION_OPTION`
 */
export function checkOptions(options: unknown, isUrl: boolean): RedisStoreOptions {
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
  if (given.durability !== undefined) checkDurability(given.durability);
  checkReads(given);
  return given;
}

function checkDurability(durability: unknown): void {
  const at = "redisStore option durability";
  if (typeof durability !== "object" || durability === null || Array.isArray(durability)) {
    throw wrong(at, durability, 'write an object such as { replicas: 1, timeout: 200, for: "security" }');
  }
  for (const [name, value] of Object.entries(durability)) {
    if (!durabilityNames.includes(name)) {
      throw wrong(`${at}.${name}`, "an unknown option", `there are ${durabilityNames.join(", ")}`);
    }
    if (value === undefined) continue;
    if (name === "replicas" && !isTimeout(value)) throw wrong(`${at}.replicas`, value, "write a whole number from 1");
    if (name === "timeout" && !isTimeout(value)) throw wrong(`${at}.timeout`, value, "write whole ms from 1");
    if (name === "for") oneOf(`${at}.for`, value, ["security", "all"]);
    if (name === "onShortfall") oneOf(`${at}.onShortfall`, value, ["fail", "report"]);
  }
}

function checkReads(given: RedisStoreOptions): void {
  const { readFrom, maxStaleness, replica } = given;
  if (readFrom !== undefined) oneOf("redisStore option readFrom", readFrom, ["master", "replica"]);
  for (const name of replicaNames) {
    if (given[name] !== undefined && readFrom !== "replica") {
      throw wrong(`redisStore option ${name}`, given[name], 'it is for readFrom: "replica"; set that or leave it out');
    }
  }
  if (maxStaleness !== undefined && !isTimeout(maxStaleness)) {
    throw wrong("redisStore option maxStaleness", maxStaleness, "write whole ms from 1");
  }
  if (replica !== undefined && typeof replica !== "string" && (typeof replica !== "object" || replica === null)) {
    throw wrong("redisStore option replica", replica, "write an ioredis client or a URL");
  }
}

function oneOf(what: string, value: unknown, choices: readonly string[]): void {
  if (typeof value === "string" && choices.includes(value)) return;
  throw wrong(what, value, `write ${choices.map((choice) => JSON.stringify(choice)).join(" or ")}`);
}

function isTimeout(value: unknown): boolean {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 1 && value < 2 ** 31;
}

/** The refusal of an option. */
export function wrong(what: string, received: unknown, cure: string): SessionError {
  const shown =
    typeof received === "string"
      ? received
      : typeof received === "object" && received !== null
        ? "an object"
        : String(received);
  return new SessionError("ERR_SESSION_OPTION", `${what}: received ${shown}; ${cure}`);
}
