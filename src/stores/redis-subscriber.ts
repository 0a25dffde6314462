/**
 * Connections of their own that hear what is published: what the endings need of one, and how it is made of an ioredis
 * client. How of a node-redis client is in `node-redis-subscriber.ts`. `redis-endings.ts` opens them, one at a time.
 *
 * None repairs itself: what is published meanwhile would be missed without a word. It ends, and the next one is opened.
 */
import { randomInt } from "node:crypto";
import { endClient, type RedisCommands, type Subscriber } from "./redis-client.ts";

/** How long a connection may take to be made, and a command to be answered. */
export const answerWithinMs = 2_000;

/** Opens one, to the server of a client, or to any of a Cluster's: each hears what all publish. @throws Error */
export async function openSubscriber(client: RedisCommands): Promise<Subscriber> {
  return client.openSubscriber === undefined ? ofIoredis(client) : client.openSubscriber();
}

/** What is used of a connection of ioredis. */
interface Connection {
  connect(): Promise<void>;
  subscribe(channel: string): Promise<unknown>;
  ping(): Promise<unknown>;
  disconnect(): void;
  on(event: string, listener: (...args: never[]) => void): unknown;
  once(event: string, listener: (...args: never[]) => void): unknown;
  readonly stream?: { unref?: () => void };
}

function ofIoredis(client: RedisCommands): Subscriber {
  const connection = duplicateOf(client);
  connection.on("error", () => {});
  const ended = new Promise<void>((resolve) => connection.once("end", () => resolve()));
  return {
    ended,
    subscribe: async (channel, onMessage) => {
      connection.on("message", (_channel: string, text: string) => onMessage(text));
      await connection.connect();
      // Who listens to events keeps no process alive by that.
      connection.stream?.unref?.();
      await connection.subscribe(channel);
    },
    ping: () => connection.ping(),
    mayMiss: false,
    close: () => endClient(connection),
  };
}

function duplicateOf(client: RedisCommands): Connection {
  const isCluster = Reflect.get(client, "isCluster") === true;
  // ioredis has both methods; its class for a Cluster keeps a client for each node.
  const nodes = isCluster ? (Reflect.get(client, "nodes") as (role: string) => object[]).call(client, "all") : [client];
  const node = nodes[nodes.length > 1 ? randomInt(nodes.length) : 0];
  if (node === undefined) throw new Error("no node of the Cluster is known");
  const duplicate = Reflect.get(node, "duplicate") as (settings: object) => Connection;
  return duplicate.call(node, {
    lazyConnect: true,
    protocol: 2,
    replyMapping: "resp2",
    enableOfflineQueue: true,
    enableAutoPipelining: false,
    autoResubscribe: false,
    commandTimeout: answerWithinMs,
    socketTimeout: undefined,
    connectTimeout: answerWithinMs,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
}
