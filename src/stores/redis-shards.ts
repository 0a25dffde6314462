/**
 * Which node of a Cluster a key is on, by what the client knows now. ioredis's table of slots and its pool of connections
 * are in no documentation; without them all shards count as one. Sends nothing. The store, its doubts and its gathering
 * of writes ask.
 */
import keySlot from "cluster-key-slot";
import type { RedisCommands } from "./redis-client.ts";

/** `host:port`; `""`: no Cluster, or not known yet. */
export function shardOf(client: RedisCommands, key: string): string {
  if (client.shardOf !== undefined) return client.shardOf(key);
  const slots: unknown = Reflect.get(client, "slots");
  if (!Array.isArray(slots)) return "";
  const prefix: unknown = Reflect.get(client.options, "keyPrefix");
  const nodes: unknown = slots[keySlot(typeof prefix === "string" ? prefix + key : key)];
  const master: unknown = Array.isArray(nodes) ? nodes[0] : undefined;
  return typeof master === "string" ? master : "";
}

/** Whose connection a command on `key` leaves by: the client's own, or in a Cluster its node's. `undefined`: not known. */
export function senderOf(client: RedisCommands, key: string): object | undefined {
  if (Reflect.get(client, "isCluster") !== true) return client;
  const pool: unknown = Reflect.get(client, "connectionPool");
  const find: unknown = isObject(pool) ? Reflect.get(pool, "getInstanceByKey") : undefined;
  const node: unknown = typeof find === "function" ? find.call(pool, shardOf(client, key)) : undefined;
  return isObject(node) ? node : undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
