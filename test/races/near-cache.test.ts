/**
 * Two nodes with near caches and one without, on a few sessions that all of them write, touch and read, while their
 * connections are killed and their messages held up. Each session's payload is a number that only ever counts up, so
 * that every answer can be judged: none is older than what its own node had acknowledged before, or what any node had
 * acknowledged before the cache could at the latest know.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Store, StoreRecord } from "../../src/store.ts";
import { nearCache } from "../../src/stores/near-cache.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { seed, times } from "../support/counts.ts";
import { call, liveRecord, untilServing } from "../support/near-caches.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";
import { seeded } from "../support/seeded.mjs";
import { startProxy, type TcpProxy } from "../support/tcp-proxy.ts";

const keys = ["one", "two", "three", "four"];
const operations = times(2_500, 50_000);
/** The longest that a cache may be behind, and time for a busy machine to run a timer. */
const behindMs = 2_500 + 1_000;
const tuned = {
  commandTimeout: 2_000,
  socketTimeout: 5_000,
  maxRetriesPerRequest: 1,
  autoResendUnfulfilledCommands: false,
  retryStrategy: () => 20,
};

interface Node {
  name: string;
  store: Store;
  client: Redis;
  /** By key: the last number that this node had acknowledged. */
  acknowledged: Map<string, number>;
}

let redis: RedisServer;
let proxy: TcpProxy;
let nodes: Node[];
/** By key: every number that was acknowledged to anybody, and when. */
const history = new Map<string, { number: number; at: number }[]>(keys.map((key) => [key, []]));

beforeAll(async () => {
  redis = await startRedis();
  proxy = await startProxy(redis.port);
  nodes = [nodeOf("far", proxy.port, true), nodeOf("near", redis.port, true), nodeOf("plain", redis.port, false)];
  for (const key of keys) {
    for (const { store } of nodes.slice(0, 2)) await untilServing(store, key);
    await count(nodes[2], key);
  }
});
afterAll(async () => {
  for (const { store, client } of nodes) {
    await store.close?.();
    client.disconnect();
  }
  await proxy.stop();
  await redis.stop();
});

function nodeOf(name: string, port: number, isNear: boolean): Node {
  const client = new Redis(port, tuned);
  client.on("error", () => {});
  const store = redisStore(client);
  return { name, client, store: isNear ? nearCache(store, { max: 3 }) : store, acknowledged: new Map() };
}

const numberOf = (record: StoreRecord | undefined): number =>
  record?.kind === "live" ? Number(Buffer.from(record.payload).toString()) || 0 : Number.NaN;

/** Counts up by one on top of what the node reads; a lost race is none of its concern. */
async function count(node: Node | undefined, key: string): Promise<void> {
  if (node === undefined) throw new Error("a node");
  const known = await node.store.read(key, call());
  if (known?.kind !== "live") throw new Error(`${key} is lost on ${node.name}`);
  const number = numberOf(known) + 1;
  const result = await node.store.write(key, liveRecord(node.store, String(number)), known.version, call());
  if (!result.ok) return;
  node.acknowledged.set(key, Math.max(number, node.acknowledged.get(key) ?? 0));
  history.get(key)?.push({ number, at: performance.now() });
}

/** One read, by whichever way; an answer that is too old fails the test. */
async function check(node: Node, key: string): Promise<void> {
  const own = node.acknowledged.get(key) ?? 0;
  const since = performance.now() - behindMs;
  const others = (history.get(key) ?? []).filter(({ at }) => at < since);
  const known = others.reduce((most, { number }) => Math.max(most, number), 0);
  const number = numberOf(node.store.peek?.(key) ?? (await node.store.read(key, call())));
  expect(number, `${key} on ${node.name}: its own last write`).toBeGreaterThanOrEqual(own);
  expect(number, `${key} on ${node.name}: what it must have heard of`).toBeGreaterThanOrEqual(known);
}

/** Touches what the node reads. */
async function touch(node: Node, key: string): Promise<void> {
  const known = await node.store.read(key, call());
  if (known?.kind !== "live") return;
  const now = node.store.now();
  await node.store.touch(key, { version: known.version, touchedAt: now, expiresAt: now + 3_600_000 }, call());
}

/** Kills one of the connections that the caches own. */
async function kill(random: () => number): Promise<void> {
  const list = await redis.command("CLIENT", "LIST");
  const ids = [...list.matchAll(/id=(\d+) [^\n]*name=holdfast-near-cache/g)].map(([, id = ""]) => id);
  const id = ids[Math.floor(random() * ids.length)];
  if (id !== undefined) await redis.command("CLIENT", "KILL", "ID", id);
}

describe("near caches among each other", () => {
  it(`never answer with less than they know, whatever becomes of their connections (seed ${seed})`, async () => {
    let left = operations;
    const random = seeded(seed);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T; // never empty
    const work = async (): Promise<void> => {
      while (left-- > 0) {
        const [node, key, what] = [pick(nodes), pick(keys), random()];
        if (what < 0.55) await check(node, key);
        else if (what < 0.9) await count(node, key);
        else await touch(node, key);
      }
    };
    const disturb = async (): Promise<void> => {
      while (left > 0) {
        const what = random();
        if (what < 0.5) await kill(random);
        else {
          const goOn = proxy.freeze(what < 0.75 ? "subscribe" : "TRACKING");
          await delay(20 + random() * 60);
          goOn();
        }
        await delay(30 + random() * 120);
      }
    };
    await Promise.all([...Array.from({ length: 8 }, work), disturb()]);

    // All of it was applied once and in order, and when it is quiet every cache serves, and serves the last of it.
    for (const key of keys) {
      const last = numberOf(await nodes[2]?.store.read(key, call()));
      expect(last).toBe(Math.max(...(history.get(key) ?? []).map(({ number }) => number)));
      expect(new Set(history.get(key)?.map(({ number }) => number)).size).toBe(history.get(key)?.length);
      for (const node of nodes.slice(0, 2)) {
        await until(async () => numberOf(await node.store.read(key, call())) === last, `${node.name} to know ${key}`);
        await until(async () => {
          await node.store.read(key, call());
          return numberOf(node.store.peek?.(key)) === last;
        }, `${node.name} to serve ${key}`);
      }
    }
  });
});
