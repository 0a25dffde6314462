// @ts-check
/**
 * The clients, and settings of them, that `clients.mjs` compares: each makes a store, or a bare client, for a Redis on
 * some port of this machine. Measures nothing.
 */
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createClient } from "redis";
import { createClient as createClient5 } from "redis5";
import { signedIn } from "./servers/server.mjs";

const { redisStore } = await import("holdfast/redis");

/** What a session holds. */
export const payload = Buffer.from(`\n${JSON.stringify(signedIn())}`);
/** A call with time enough. */
export const call = () => ({ deadline: performance.now() + 10_000, durable: false });

/** As `redisStore(url)` sets its own client, but for what is compared. */
const tuned = { commandTimeout: 5_000, socketTimeout: 2_500, maxRetriesPerRequest: 0, enableOfflineQueue: true };
const socket = { socketTimeout: 2_500 };

/**
 * @typedef {{ read(key: string): Promise<unknown>, change?(key: string): Promise<void>, close(): Promise<unknown> | void }} Subject
 * @typedef {{ name: string, make: (port: number) => Promise<Subject> }} Setting
 */

/**
 * A store on each of some clients, used in turn.
 *
 * @param {readonly any[]} clients what `redisStore` takes
 * @param {() => unknown} close
 * @returns {Subject}
 */
function stored(clients, close) {
  const stores = clients.map((client) => redisStore(client));
  let turn = 0;
  const next = () => {
    const store = stores[turn++ % stores.length];
    if (store === undefined) throw new Error("no store");
    return store;
  };
  return {
    async read(key) {
      const record = await next().read(key, call());
      if (record?.kind !== "live") throw new Error("a session was not read");
    },
    async change(key) {
      const store = next();
      const record = await store.read(key, call());
      if (record?.kind !== "live") throw new Error("a session was not read");
      await store.write(key, { ...record, payload }, record.version, call());
    },
    async close() {
      for (const store of stores) await store.close?.();
      await close();
    },
  };
}

/** @param {(port: number, options: object) => Redis | Redis5} create @param {object} options @param {number} [count] */
function ioredis(create, options, count = 1) {
  return async (/** @type {number} */ port) => {
    const clients = Array.from({ length: count }, () => create(port, { ...tuned, ...options }));
    await Promise.all(clients.map((client) => client.ping()));
    return stored(clients, () => clients.forEach((client) => void client.disconnect()));
  };
}

/** @param {(url: string) => any} create */
function nodeRedis(create) {
  return async (/** @type {number} */ port) => {
    const client = create(urlOf(port));
    await client.connect();
    // Version 5 closes a connection that was silent for `socketTimeout`, and the store opens it again.
    return stored([client], () => client.isOpen && client.destroy());
  };
}

/**
 * The client alone, one command, and the reply as it comes.
 *
 * @param {"get" | "getBuffer"} command
 * @param {object} options
 */
function raw(command, options) {
  return async (/** @type {number} */ port) => {
    const client = new Redis(port, { ...tuned, ...options });
    await client.ping();
    return {
      read: (/** @type {string} */ key) => client[command](`holdfast:${key}`),
      close: () => client.disconnect(),
    };
  };
}

const urlOf = (/** @type {number} */ port) => `redis://127.0.0.1:${port}`;
const six = (/** @type {number} */ at, /** @type {object} */ options) => new Redis(at, options);
const five = (/** @type {number} */ at, /** @type {object} */ options) => new Redis5(at, options);
const batching = { enableAutoPipelining: true };

/** What is compared.
 *
 * @type {Setting[]}
 */
export const clientSettings = [
  { name: "URL", make: async (port) => stored([urlOf(port)], () => {}) },
  { name: "ioredis 6", make: ioredis(six, {}) },
  { name: "ioredis 6, RESP2", make: ioredis(six, { protocol: 2 }) },
  { name: "ioredis 6, auto-pipelining", make: ioredis(six, batching) },
  { name: "ioredis 6, auto-pipelining, RESP2", make: ioredis(six, { ...batching, protocol: 2 }) },
  { name: "ioredis 6, auto-pipelining, 2 connections", make: ioredis(six, batching, 2) },
  { name: "ioredis 6, auto-pipelining, 4 connections", make: ioredis(six, batching, 4) },
  { name: "ioredis 6, 2 connections", make: ioredis(six, {}, 2) },
  { name: "ioredis 6, 4 connections", make: ioredis(six, {}, 4) },
  { name: "ioredis 5", make: ioredis(five, {}) },
  { name: "ioredis 5, auto-pipelining", make: ioredis(five, batching) },
  { name: "node-redis 6", make: nodeRedis((url) => createClient({ url, socket })) },
  { name: "node-redis 6, RESP2", make: nodeRedis((url) => createClient({ url, socket, RESP: 2 })) },
  {
    name: "node-redis 6, no command timeout",
    make: nodeRedis((url) => createClient({ url, socket, commandOptions: { timeout: 0 } })),
  },
  { name: "node-redis 5", make: nodeRedis((url) => createClient5({ url, socket })) },
  { name: "client alone, auto-pipelining: GET, a string", make: raw("get", batching) },
  { name: "client alone, auto-pipelining: GET, a Buffer", make: raw("getBuffer", batching) },
];
