/**
 * A subscription of a node-redis client, version 5 or 6. Of a single client, or of any master of a Cluster, it is a
 * duplicate that does not reconnect; a Sentinel client keeps a connection for subscriptions itself, which is used, and
 * counts as ended at each error and each new master. `redis-from-node-redis.ts` makes it.
 */
import { randomInt } from "node:crypto";
import { kindOf } from "./node-redis-masters.ts";
import type { Subscriber } from "./redis-client.ts";
import { answerWithinMs } from "./redis-subscriber.ts";

/** While nothing is published a PING comes every five seconds; so long a handshake may hang. */
const silenceMs = 15_000;

type Listener = (text: string) => void;

/** What is used of a client that can be duplicated. */
interface Single {
  readonly isOpen: boolean;
  readonly options?: { socket?: object };
  duplicate(overrides: object): Single;
  connect(): Promise<unknown>;
  subscribe(channel: string, listener: Listener): Promise<unknown>;
  ping(): Promise<unknown>;
  destroy(): unknown;
  unref(): void;
  on(event: string, listener: () => void): unknown;
}

/** What is used of a Cluster. Which of its nodes there are is known once it has connected. */
interface Cluster {
  readonly masters: readonly object[];
  nodeClient(node: object): Single | Promise<Single>;
}

/** What is used of a Sentinel client. */
interface Sentinel {
  subscribe(channel: string, listener: Listener): Promise<unknown>;
  unsubscribe(channel: string, listener: Listener): Promise<unknown>;
  pUnsubscribe(pattern: string): Promise<unknown>;
  on(event: string, listener: (event: { type?: string }) => void): unknown;
  off(event: string, listener: (event: { type?: string }) => void): unknown;
}

/** A subscription by `client`, whichever of the three it is. @throws Error where no node of a Cluster is known */
export async function nodeRedisSubscriber(client: object): Promise<Subscriber> {
  const kind = kindOf(client);
  // node-redis's own classes, by their kind.
  if (kind === "sentinel") return bySentinel(client as unknown as Sentinel);
  if (kind === "single") return byDuplicate(client as unknown as Single);
  const cluster = client as unknown as Cluster;
  const node = cluster.masters.length === 0 ? undefined : cluster.masters[randomInt(cluster.masters.length)];
  if (node === undefined) throw new Error("no node of the Cluster is known");
  return byDuplicate(await cluster.nodeClient(node));
}

function ending(): { ended: Promise<void>; end: () => void } {
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { ended, end };
}

function byDuplicate(client: Single): Subscriber {
  const connection = client.duplicate({
    clientSideCache: undefined,
    disableOfflineQueue: false,
    socket: {
      ...client.options?.socket,
      reconnectStrategy: false,
      connectTimeout: answerWithinMs,
      socketTimeout: silenceMs,
    },
  });
  const { ended, end } = ending();
  connection.on("error", end);
  connection.on("end", end);
  // Who listens to events keeps no process alive by that.
  connection.unref();
  let connecting: Promise<unknown> = Promise.resolve();
  return {
    ended,
    subscribe: async (channel, onMessage) => {
      connecting = connection.connect();
      await connecting;
      await connection.subscribe(channel, onMessage);
    },
    ping: () => connection.ping(),
    mayMiss: false,
    close: () => {
      end();
      // Version 5 would leave behind what was ended while it connected.
      const destroy = (): unknown => connection.isOpen && connection.destroy();
      connecting.then(destroy, destroy);
    },
  };
}

function bySentinel(client: Sentinel): Subscriber {
  const { ended, end } = ending();
  const onError = (): void => end();
  const onChange = ({ type }: { type?: string }): void => {
    if (type === "MASTER_CHANGE") end();
  };
  client.on("error", onError);
  client.on("topology-change", onChange);
  let stop = (): void => {};
  // An answer by that connection: it has no PING, and no pattern is subscribed to.
  const ping = (): Promise<unknown> => client.pUnsubscribe("holdfast:none");
  return {
    ended,
    subscribe: async (channel, onMessage) => {
      stop = () => void client.unsubscribe(channel, onMessage).catch(() => {});
      await client.subscribe(channel, onMessage);
      // While it reconnects, a channel that the last subscriber has not left yet takes another listener without a command.
      await ping();
    },
    ping,
    // node-redis repairs that connection by itself, and does not always say so.
    mayMiss: true,
    close: () => {
      client.off("error", onError);
      client.off("topology-change", onChange);
      stop();
      end();
    },
  };
}
