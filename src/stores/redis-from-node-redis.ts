/**
 * A node-redis client (versions 5 and 6; single, Cluster, Sentinel) with the face that the Redis store has for ioredis.
 * Imports nothing of node-redis: what is used of it is named below. Opens a client that was not connected yet, and
 * otherwise leaves it as it is. Called where a client is handed in.
 */
import keySlot from "cluster-key-slot";
import { kindOf, type NodeRedisKind } from "./node-redis-masters.ts";
import { repairClient } from "./node-redis-repair.ts";
import { nodeRedisSubscriber } from "./node-redis-subscriber.ts";
import type { RedisCommands, RedisEvent, Subscriber } from "./redis-client.ts";

type Arguments = (string | Buffer)[];

/** What node-redis takes beside a command. 36 is RESP's "$": bulk strings as bytes. */
interface SendOptions {
  typeMapping?: { 36: typeof Buffer };
}

/** What the store uses of a node-redis client, whichever of the three it is. */
export interface NodeRedisLike {
  readonly isOpen: boolean;
  // A Cluster has none before version 6.
  readonly isReady?: boolean;
  connect(): Promise<unknown>;
  close(): Promise<unknown>;
  destroy(): unknown;
  // Its arguments differ: see `sender`. Bivariant, so that all three fit.
  sendCommand(...args: never[]): Promise<unknown>;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

const needed = ["sendCommand", "connect", "close", "destroy", "on", "off"];

/** Whether it is a node-redis client. */
export function isNodeRedis(client: unknown): client is NodeRedisLike {
  if (typeof client !== "object" || client === null || typeof Reflect.get(client, "isOpen") !== "boolean") return false;
  return needed.every((name) => typeof Reflect.get(client, name) === "function");
}

type Send = (key: string | undefined, args: Arguments, options: SendOptions) => Promise<unknown>;

/** A single client takes the command alone, a Cluster its key and whether a replica may answer, a Sentinel the latter. */
function sender(client: NodeRedisLike): Send {
  const send = client.sendCommand.bind(client) as (...args: unknown[]) => Promise<unknown>; // one of the forms below
  const kind = kindOf(client);
  if (kind === "cluster") return (key, args, options) => send(key, false, args, options);
  if (kind === "sentinel") return (_key, args, options) => send(false, args, options);
  return (_key, args, options) => send(args, options);
}

const asBytes: SendOptions = { typeMapping: { 36: Buffer } };

/** As the URL form's client has it: a connection that hangs costs one attempt, not the whole request. */
const commandTimeoutMs = 500;

const wrapped = new WeakMap<NodeRedisLike, RedisCommands>();

/** The client, as the store uses it; one face a client, so that what is reported of it is reported once. */
export function fromNodeRedis(client: NodeRedisLike): RedisCommands {
  const known = wrapped.get(client);
  if (known !== undefined) return known;
  const face = new NodeRedisFace(client);
  wrapped.set(client, face);
  return face;
}

class NodeRedisFace implements RedisCommands {
  readonly nodeRedis: NodeRedisKind;
  readonly #client: NodeRedisLike;
  readonly #send: Send;
  readonly #onSilence: (node: string) => void;
  /** Connected once, and ended for good since: `connect()` is the owner's to call then. */
  #isEnded = false;
  #connecting: Promise<unknown> | undefined;

  constructor(client: NodeRedisLike) {
    this.nodeRedis = kindOf(client);
    this.#client = client;
    this.#send = sender(client);
    client.on("ready", () => {
      this.#isEnded = false;
    });
    client.on("end", () => {
      this.#isEnded = true;
    });
    // Without a listener a lost connection would end the process.
    client.on("error", () => {});
    this.#onSilence = repairClient(client, () => this.disconnect(true));
  }

  get options(): object {
    const options: unknown = Reflect.get(this.#client, "options");
    return typeof options === "object" && options !== null ? options : {};
  }

  get status(): string {
    const { isOpen, isReady = isOpen } = this.#client;
    if (isReady) return "ready";
    if (isOpen) return "connecting";
    return this.#isEnded ? "end" : "wait";
  }

  /** Which node of a Cluster holds a key. */
  shardOf(key: string): string {
    const slots: unknown = Reflect.get(this.#client, "slots");
    const shard: unknown = Array.isArray(slots) ? slots[keySlot(key)] : undefined;
    if (typeof shard !== "object" || shard === null) return "";
    const master: unknown = Reflect.get(shard, "master");
    const address: unknown = typeof master === "object" && master !== null ? Reflect.get(master, "address") : undefined;
    return typeof address === "string" ? address : "";
  }

  async openSubscriber(): Promise<Subscriber> {
    // Which nodes there are, a Cluster and a Sentinel know once they have connected.
    if (this.status === "wait") await this.connect();
    return nodeRedisSubscriber(this.#client);
  }

  async getBuffer(key: string): Promise<Buffer | null> {
    // GET's answer, by the type mapping.
    return (await this.#run(key, ["GET", key], asBytes)) as Buffer | null;
  }

  evalsha(sha: string, keyCount: number, ...args: Arguments): Promise<unknown> {
    return this.#run(String(args[0]), ["EVALSHA", sha, String(keyCount), ...args], {});
  }

  evalshaBuffer(sha: string, keyCount: number, ...args: Arguments): Promise<unknown> {
    return this.#run(String(args[0]), ["EVALSHA", sha, String(keyCount), ...args], asBytes);
  }

  evalBuffer(lua: string, keyCount: number, ...args: Arguments): Promise<unknown> {
    return this.#run(String(args[0]), ["EVAL", lua, String(keyCount), ...args], asBytes);
  }

  time(): Promise<unknown> {
    return this.#run(undefined, ["TIME"], {});
  }

  async info(section?: string): Promise<string> {
    return String(await this.#run(undefined, section === undefined ? ["INFO"] : ["INFO", section], {}));
  }

  async connect(): Promise<void> {
    this.#connecting ??= this.#client.connect().finally(() => {
      this.#connecting = undefined;
    });
    await this.#connecting;
  }

  quit(): Promise<unknown> {
    return this.#client.close();
  }

  disconnect(reconnect = false): void {
    if (this.#client.isOpen) this.#client.destroy();
    if (!reconnect) return;
    this.#isEnded = false;
    this.connect().catch(() => undefined);
  }

  on(event: RedisEvent, listener: (...args: unknown[]) => void): unknown {
    return this.#client.on(event, listener);
  }

  off(event: RedisEvent, listener: (...args: unknown[]) => void): unknown {
    return this.#client.off(event, listener);
  }

  #run(key: string | undefined, args: Arguments, options: SendOptions): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        if (key !== undefined) this.#onSilence(this.shardOf(key));
        reject(new Error("Command timed out"));
      }, commandTimeoutMs);
      this.#send(key, args, options)
        .finally(() => clearTimeout(timer))
        .then(resolve, (error: unknown) => reject(asReplyError(error)));
    });
  }
}

/** Redis's own errors under the name that ioredis gives them: what a failure means is read from that. */
function asReplyError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  for (let at: unknown = error.constructor; typeof at === "function"; at = Object.getPrototypeOf(at)) {
    if (at.name === "ErrorReply") return Object.assign(error, { name: "ReplyError" });
  }
  return error;
}
