/**
 * Endings over Redis's publish and subscribe: the scripts publish in the step that ends a record, on `<prefix>ended`;
 * who listens has a connection of its own, made like the store's client. Lost messages are Redis's rule, not an
 * exception: each time the connection is made anew the listener is told to look again. `redis.ts` makes it.
 */
import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { debuglog } from "node:util";
import type { Ending, EndingListener, Endings } from "../endings.ts";
import type { EndReason } from "../store.ts";
import type { RedisCommands } from "./redis-client.ts";

const log = debuglog("holdfast");
const pingEveryMs = 5_000;
const longestPauseMs = 2_000;

/** What is used of a connection of ioredis. */
interface Subscriber {
  connect(): Promise<void>;
  subscribe(channel: string): Promise<unknown>;
  ping(): Promise<unknown>;
  disconnect(): void;
  on(event: string, listener: (...args: never[]) => void): unknown;
  once(event: string, listener: (...args: never[]) => void): unknown;
  readonly stream?: { unref?: () => void };
}

/** One message: a key and a reason. */
export function endingMessage(key: string, reason: Ending["reason"]): string {
  return `${key} ${reason}`;
}

/** Whether connections like a client's can be made to listen with: ioredis's can, node-redis's not yet. */
export function canListen(client: RedisCommands): boolean {
  return typeof Reflect.get(client, Reflect.get(client, "isCluster") === true ? "nodes" : "duplicate") === "function";
}

/** The endings of one store. */
export class RedisEndings implements Endings {
  readonly #client: RedisCommands;
  readonly #channel: string;

  constructor(client: RedisCommands, channel: string) {
    this.#client = client;
    this.#channel = channel;
  }

  listen(listener: EndingListener): () => Promise<void> {
    const stopped = new AbortController();
    const running = this.#run(listener, stopped.signal);
    return async () => {
      stopped.abort();
      await running;
    };
  }

  async #run(listener: EndingListener, signal: AbortSignal): Promise<void> {
    let pauseMs = 50;
    while (!signal.aborted) {
      const began = performance.now();
      await this.#subscribe(listener, signal).catch((error: unknown) => log("redis subscriber: %s", error));
      // A connection that stood for a while is replaced at once.
      pauseMs = performance.now() - began > longestPauseMs ? 50 : Math.min(pauseMs * 2, longestPauseMs);
      if (!signal.aborted) await delay(pauseMs, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  /** One connection, from its beginning to its end. */
  async #subscribe(listener: EndingListener, signal: AbortSignal): Promise<void> {
    const connection = this.#open();
    const stop = (): void => connection.disconnect();
    signal.addEventListener("abort", stop);
    let ping: NodeJS.Timeout | undefined;
    try {
      connection.on("error", () => {});
      connection.on("message", (_channel: string, text: string) => tell(listener, text));
      const ended = new Promise<void>((resolve) => connection.once("end", () => resolve()));
      await connection.connect();
      // Who listens to events keeps no process alive by that.
      connection.stream?.unref?.();
      await connection.subscribe(this.#channel);
      if (!signal.aborted) listener.listening();
      // A connection may be dead without a word.
      ping = setInterval(() => connection.ping().catch(stop), pingEveryMs);
      ping.unref();
      await ended;
    } finally {
      clearInterval(ping);
      signal.removeEventListener("abort", stop);
      connection.disconnect();
    }
  }

  /** A connection like the client's own; to any node of a Cluster, as each hears what all publish. */
  #open(): Subscriber {
    const client = this.#client;
    const isCluster = Reflect.get(client, "isCluster") === true;
    // ioredis has both methods; its class for a Cluster keeps a client for each node.
    const nodes = isCluster
      ? (Reflect.get(client, "nodes") as (role: string) => object[]).call(client, "all")
      : [client];
    const node = nodes[nodes.length > 1 ? randomInt(nodes.length) : 0];
    if (node === undefined) throw new Error("no node of the Cluster is known");
    const duplicate = Reflect.get(node, "duplicate") as (settings: object) => Subscriber;
    return duplicate.call(node, {
      lazyConnect: true,
      protocol: 2,
      replyMapping: "resp2",
      enableOfflineQueue: true,
      enableAutoPipelining: false,
      autoResubscribe: false,
      commandTimeout: 2_000,
      socketTimeout: undefined,
      connectTimeout: 2_000,
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
    });
  }
}

const reasons: ReadonlySet<string> = new Set<Ending["reason"]>([
  ...(["logout", "rotated", "renewed", "revoked", "evicted", "expired"] satisfies EndReason[]),
  "moved",
]);

function tell(listener: EndingListener, text: string): void {
  const [key, reason] = text.split(" ", 2);
  // The set holds every reason and nothing else; another version's counts as the strictest.
  if (key) listener.ended({ key, reason: reasons.has(reason ?? "") ? (reason as Ending["reason"]) : "revoked" });
}
