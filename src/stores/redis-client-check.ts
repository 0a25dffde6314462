/**
 * What is reported once, at start, about a Redis that sessions are about to rely on: a client that was handed in without
 * the settings that decide how an outage ends, and a server that would drop sessions. Changes neither. `redis.ts` and
 * `redis-link.ts` call it; the figures behind the settings are in decision 0021.
 */
import { SessionError } from "../errors.ts";
import { eachMaster, kindOf } from "./node-redis-masters.ts";
import { isRedisCommands, type RedisCommands, type RedisLike } from "./redis-client.ts";
import { fromNodeRedis, isNodeRedis, type NodeRedisLike } from "./redis-from-node-redis.ts";

/**
 * Checks a client that was handed in, and reports once what would make an outage worse.
 * @throws {SessionError} `ERR_SESSION_OPTION` when it is no ioredis client
 */
export function checkClient(client: unknown): RedisCommands {
  if (isRedisCommands(client)) {
    if (isNew(client)) report("ioredis", missingSettings(client));
    return client;
  }
  if (isNodeRedis(client)) {
    const face = fromNodeRedis(client);
    if (isNew(face)) checkNodeRedis(client);
    return face;
  }
  const received = client === null ? "null" : Array.isArray(client) ? "an array" : typeof client;
  throw new SessionError(
    "ERR_SESSION_OPTION",
    `redisStore(client): received ${received}; hand in an ioredis client, new Redis(…) or new Cluster(…), a node-redis client (5 or 6), or a URL such as "redis://127.0.0.1:6379"`,
  );
}

/** The clients whose settings, and whose servers, were looked at. */
const clientsSeen = new WeakSet<object>();
const serversSeen = new WeakSet<object>();

function isNew(client: RedisCommands): boolean {
  if (clientsSeen.has(client)) return false;
  clientsSeen.add(client);
  return true;
}

/** Names the settings that a client handed in lacks: `process.emitWarning`. */
function report(kind: "ioredis" | "node-redis", missing: readonly string[]): void {
  if (missing.length === 0) return;
  process.emitWarning(
    `the ${kind} client given to redisStore() lacks settings that decide how an outage ends: ${missing.join("; ")}. Set them where the client is made, or give redisStore() a URL, whose client has them.`,
    { type: "HoldfastWarning", code: "HOLDFAST_REDIS_CLIENT" },
  );
}

/** One phrase for each setting that is missing: its name, its value now, what to set. */
export function missingSettings(client: RedisLike): string[] {
  const own = new Map<string, unknown>(Object.entries(client.options));
  if (Reflect.get(client, "isCluster") === true) return missingInCluster(own);
  const missing = missingTimeouts(own, "");
  const ask = (name: string, want: string, now = own.get(name)): void => {
    missing.push(`${name} is ${String(now)}, set ${want}`);
  };
  const retries = own.get("maxRetriesPerRequest");
  if (typeof retries !== "number" || retries > 3) ask("maxRetriesPerRequest", "1");
  if (own.get("autoResendUnfulfilledCommands") !== false) ask("autoResendUnfulfilledCommands", "false", true);
  if (Array.isArray(own.get("sentinels"))) {
    if (own.get("failoverDetector") !== true) ask("failoverDetector", "true", false);
    if (typeof own.get("sentinelCommandTimeout") !== "number") ask("sentinelCommandTimeout", "500");
    if (own.get("role") === "slave") ask("role", '"master" (a replica takes no write)');
  }
  if (own.get("readOnly") === true) ask("readOnly", "false (a replica takes no write)");
  if (typeof own.get("retryStrategy") !== "function")
    ask("retryStrategy", "a function: without it one lost connection is the last");
  const isBounded = typeof own.get("commandTimeout") === "number" && typeof retries === "number";
  if (own.get("enableOfflineQueue") !== false && !isBounded)
    ask("enableOfflineQueue", "false: an outage fills the queue, which has no limit", true);
  return missing;
}

/** A Cluster and a Sentinel client keep their settings to themselves: their first connection tells, once it is there. */
function checkNodeRedis(client: NodeRedisLike): void {
  const kind = kindOf(client);
  if (kind === "single") {
    report("node-redis", missingInNodeRedis(client, ""));
    return;
  }
  let isTold = false;
  eachMaster(client, (connection) => {
    if (isTold) return;
    isTold = true;
    report("node-redis", missingInNodeRedis(connection, kind === "cluster" ? "defaults." : "nodeClientOptions."));
  });
}

/**
 * The store times each command itself, but only the client can give up a connection that hangs, and what waits for one.
 * `where`: what goes before a setting's name.
 */
function missingInNodeRedis(connection: object, where: string): string[] {
  const own = settingsOf(connection, "options");
  const socketTimeout: unknown = settingsOf(own, "socket").socketTimeout;
  const missing: string[] = [];
  if (typeof socketTimeout !== "number")
    missing.push(`${where}socket.socketTimeout is ${String(socketTimeout)}, set 2500`);
  // Version 6 has a timeout of five seconds unless told otherwise; where it keeps that is in no documentation.
  const isTimed = Number(settingsOf(connection, "_commandOptions").timeout) > 0;
  if (own.disableOfflineQueue !== true && typeof own.commandsQueueMaxLength !== "number" && !isTimed)
    missing.push(
      `${where}disableOfflineQueue is ${String(own.disableOfflineQueue)}, set true: an outage fills the queue, which has no limit (commandsQueueMaxLength)`,
    );
  return missing;
}

/** Whatever stands there, as settings to look up. */
function settingsOf(holder: object, name: string): Record<string, unknown> {
  const found: unknown = Reflect.get(holder, name);
  return { ...(typeof found === "object" ? found : {}) };
}

function missingInCluster(own: ReadonlyMap<string, unknown>): string[] {
  const node = new Map<string, unknown>(Object.entries(own.get("redisOptions") ?? {}));
  const missing = missingTimeouts(node, "redisOptions.");
  const reads = own.get("scaleReads");
  if (reads !== "master")
    missing.push(
      `scaleReads is ${typeof reads === "string" ? reads : typeof reads}, set "master" (sessions must read their own writes)`,
    );
  if (own.get("enableOfflineQueue") !== false)
    missing.push("enableOfflineQueue is true, set false: what waits in a Cluster's queue has no timeout and no limit");
  if (typeof own.get("clusterRetryStrategy") !== "function")
    missing.push("clusterRetryStrategy is no function, set one: without it one lost connection is the last");
  return missing;
}

function missingTimeouts(node: ReadonlyMap<string, unknown>, where: string): string[] {
  const wanted = { commandTimeout: 500, socketTimeout: 2_500 };
  return Object.entries(wanted)
    .filter(([name]) => typeof node.get(name) !== "number")
    .map(([name, want]) => `${where}${name} is ${String(node.get(name))}, set ${want}`);
}

/**
 * Asks the server once a client what would cost sessions, and reports it with `process.emitWarning`. A server that may
 * not be asked (an ACL without INFO) is not reported. Never rejects.
 */
export async function reportServer(client: RedisCommands): Promise<void> {
  if (serversSeen.has(client)) return;
  serversSeen.add(client);
  const info = await client.info().catch(() => undefined);
  const risks = serverRisks(String(info), process.env["NODE_ENV"] === "production");
  if (risks.length === 0) return;
  process.emitWarning(`the Redis that holds the sessions can lose them: ${risks.join("; ")}.`, {
    type: "HoldfastWarning",
    code: "HOLDFAST_REDIS_SERVER",
  });
}

/**
 * One phrase for each thing in the answer to INFO that would cost sessions. What a restart costs matters in production
 * only; a Redis on a developer's machine seldom keeps anything.
 */
export function serverRisks(info: string, isProduction: boolean): string[] {
  const told = new Map(
    info.split(/\r?\n/).map((line): [string, string] => {
      const at = line.indexOf(":");
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
  const risks: string[] = [];
  const policy = told.get("maxmemory_policy") ?? "noeviction";
  if (Number(told.get("maxmemory") ?? 0) > 0 && policy !== "noeviction")
    risks.push(
      `maxmemory-policy is ${policy}, which ends sessions when memory is short (all of them have a TTL), set noeviction and alert on used_memory`,
    );
  if (isProduction && told.get("aof_enabled") === "0")
    risks.push(
      'appendonly is no: a restart loses the sessions since the last snapshot, if there is one, and brings back those that were ended since, set "appendonly yes"',
    );
  return risks;
}
