/**
 * A connection to one Sentinel, made of an ioredis client that Sentinels lead to its master: of the same class, version 5
 * or 6, and with none of the settings that are the master's. `redis-failover.ts` opens one to each, and asks and hears.
 */
import type { RedisCommands } from "./redis-client.ts";

/** What is used of it. */
export interface SentinelConnection {
  on(event: "message" | "error" | "ready" | "close", listener: (...args: unknown[]) => void): unknown;
  call(command: string, ...args: string[]): Promise<unknown>;
  subscribe(...channels: string[]): Promise<unknown>;
  disconnect(): void;
}

const reconnectMs = 500;

/**
 * Opens it; it repairs itself for as long as it is not closed. `sentinel`: its address, as the client's option
 * `sentinels` has it; `options`: the client's. `undefined`: the client can't be duplicated.
 */
export function openSentinel(
  client: RedisCommands,
  sentinel: object,
  options: ReadonlyMap<string, unknown>,
): SentinelConnection | undefined {
  const duplicate: unknown = Reflect.get(client, "duplicate");
  if (typeof duplicate !== "function") return undefined;
  return duplicate.call(client, {
    ...sentinel,
    sentinels: null,
    username: options.get("sentinelUsername"),
    password: options.get("sentinelPassword"),
    tls: options.get("sentinelTLS") ?? undefined,
    db: 0,
    keyPrefix: "",
    lazyConnect: false,
    enableReadyCheck: false,
    enableOfflineQueue: true,
    enableAutoPipelining: false,
    autoResendUnfulfilledCommands: false,
    // Its owner subscribes each connection anew, and reads a reply as version 2 of the protocol gives it: a list.
    autoResubscribe: false,
    protocol: 2,
    readOnly: false,
    connectTimeout: 1_000,
    commandTimeout: undefined,
    socketTimeout: undefined,
    maxRetriesPerRequest: null,
    retryStrategy: () => reconnectMs,
  }) as SentinelConnection; // what `duplicate` makes in both versions
}
