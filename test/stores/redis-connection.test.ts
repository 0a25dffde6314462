/** How the Redis store treats its connection: lost scripts, lost answers, and outages. */
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { NewRecord, Store } from "../../src/store.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { accepted, inTime, textOf } from "../../src/testing/contract-kit.ts";
import { expectTook } from "../support/in-time.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { startProxy, type TcpProxy } from "../support/tcp-proxy.ts";

const key = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";
const at = `holdfast:${key}`;
const hour = 3_600_000;

let server: RedisServer;
let redis: Redis;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  server = await startRedis({ appendonly: true });
  redis = new Redis(server.port);
  redis.on("error", () => {});
});

afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await redis.flushall();
});

function open(url: string): Store {
  const store = redisStore(url);
  ends.push(() => store.close?.());
  return store;
}

async function openThroughProxy(): Promise<{ store: Store; proxy: TcpProxy }> {
  const proxy = await startProxy(server.port);
  ends.push(() => proxy.stop());
  return { proxy, store: open(`redis://127.0.0.1:${proxy.port}`) };
}

function record(store: Store, text: string): NewRecord {
  const now = store.now();
  const payload = Buffer.from(text);
  return { kind: "live", createdAt: now, touchedAt: now, expiresAt: now + hour, absoluteExpiresAt: null, payload };
}

async function create(store: Store, text = "data"): Promise<string> {
  return accepted(await store.write(key, record(store, text), "absent", inTime()));
}

describe("a Redis that forgot the scripts", () => {
  test("is given them again, whatever the verb", async () => {
    const store = open(server.url);
    await redis.script("FLUSH");
    const version = await create(store);
    await redis.script("FLUSH");
    // Later than the record by either clock: what the node knows of the time of Redis is some milliseconds off.
    const stamp = { version, touchedAt: store.now() + 1_000, expiresAt: store.now() + hour };
    expect(await store.touch(key, stamp, inTime())).toBe("touched");
    await redis.script("FLUSH");
    expect(await store.remove(key, { reason: "logout", until: store.now() + hour }, inTime())).toMatchObject({
      kind: "live",
    });
  });

  test("is given them again under auto-pipelining, too", async () => {
    const client = new Redis(server.port, { enableAutoPipelining: true });
    ends.push(() => client.disconnect());
    const store = redisStore(client);
    ends.push(() => store.close?.());
    await store.read(key, inTime());
    await redis.script("FLUSH");
    const names = Array.from({ length: 20 }, (_, index) => `${key}${index}`);
    const results = await Promise.all(names.map((name) => store.write(name, record(store, name), "absent", inTime())));
    expect(results.filter((result) => result.ok)).toHaveLength(20);
  });
});

describe("an answer that was lost", () => {
  test("of a creation: the repeat is recognised, and nothing is written twice", async () => {
    const { store, proxy } = await openThroughProxy();
    await store.read(key, inTime());
    proxy.loseAnswerTo("evalsha");
    const version = await create(store);
    expect(proxy.lost).toBe(1);
    const raw = await redis.get(at);
    expect(raw?.slice(9, 33)).toBe(`${version}AAAAAAAAAAAAAAAA`);
  });

  test("of a write: the repeat is recognised, and not refused as a conflict with itself", async () => {
    const { store, proxy } = await openThroughProxy();
    const first = await create(store, "one");
    proxy.loseAnswerTo("evalsha");
    const second = accepted(await store.write(key, record(store, "two"), first, inTime()));
    expect(proxy.lost).toBe(1);
    expect((await redis.get(at))?.slice(9, 33)).toBe(`${second}${first}AAAAAAAA`);
  });

  test("of a write that others overtook since: the repeat is recognised by the tokens, and overwrites nothing", async () => {
    const { store, proxy } = await openThroughProxy();
    const other = open(server.url);
    const first = await create(store, "one");
    // No connection for the repeat before the other store's write.
    proxy.isShut = true;
    proxy.loseAnswerTo("evalsha");
    const writing = store.write(key, record(store, "two"), first, inTime());
    await expect.poll(async () => textOf(await other.read(key, inTime()))).toBe("two");
    const current = await other.read(key, inTime());
    const version = current?.kind === "live" ? current.version : "";
    accepted(await other.write(key, record(other, "three"), version, inTime()));
    proxy.isShut = false;
    expect(accepted(await writing)).toBe(version);
    expect(textOf(await other.read(key, inTime()))).toBe("three");
  });

  test("of a touch, a removal and a read: the repeat comes to the same", async () => {
    const { store, proxy } = await openThroughProxy();
    const version = await create(store);
    const expiresAt = store.now() + 2 * hour;
    proxy.loseAnswerTo("evalsha");
    expect(await store.touch(key, { version, touchedAt: store.now(), expiresAt }, inTime())).toBe("touched");
    proxy.loseAnswerTo("get");
    expect(await store.read(key, inTime())).toMatchObject({ kind: "live", expiresAt });
    proxy.loseAnswerTo("evalsha");
    await store.remove(key, { reason: "logout", until: expiresAt }, inTime());
    expect(proxy.lost).toBe(3);
    expect(await store.read(key, inTime())).toEqual({ kind: "ended", reason: "logout", expiresAt });
  });
});

describe("an outage", () => {
  test("that ends before the deadline is waited for, whatever the verb", async () => {
    const store = open(server.url);
    const version = await create(store, "kept");
    await server.kill();
    const reading = store.read(key, inTime());
    const writing = store.write(key, record(store, "new"), version, inTime());
    await server.restart();
    expect(textOf(await reading)).toMatch(/kept|new/);
    accepted(await writing);
  });

  test("that outlasts the deadline is a rejection in time, with its cause", async () => {
    const store = open(server.url);
    await store.read(key, inTime());
    await server.kill();
    const start = performance.now();
    const call = { deadline: start + 300, durable: false };
    const failure = await store.read(key, call).catch((error: unknown) => error);
    const took = performance.now() - start;
    await server.restart();
    expect(failure).toMatchObject({ name: "SessionError", code: "ERR_SESSION_STORE", status: 503 });
    expect(failure).toHaveProperty("cause");
    expectTook(took, 400, "a read of 300 ms without a Redis");
  });

  test("leaves nothing behind that starts after its deadline", async () => {
    const store = open(server.url);
    await store.read(key, inTime());
    await server.kill();
    const call = { deadline: performance.now() + 100, durable: false };
    await expect(store.write(key, record(store, "late"), "absent", call)).rejects.toMatchObject({
      code: "ERR_SESSION_STORE",
    });
    await server.restart();
    expect(await store.read(key, inTime())).toBeUndefined();
  });

  test("with a Redis that hangs is a rejection in time, and the next call after it works", async () => {
    const store = open(server.url);
    await store.read(key, inTime());
    server.pause();
    const start = performance.now();
    const failing = store.read(key, { deadline: start + 700, durable: false });
    await expect(failing).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });
    const took = performance.now() - start;
    server.resume();
    expectTook(took, 1_300, "a read of 700 ms on a Redis that hangs");
    expect(await store.read(key, inTime())).toBeUndefined();
  });

  test("with a client that was ended is a rejection at once", async () => {
    const client = new Redis(server.port);
    const store = redisStore(client);
    await store.read(key, inTime());
    client.disconnect();
    await expect.poll(() => client.status).toBe("end");
    await expect(store.read(key, inTime())).rejects.toThrow(/was ended/);
    await store.close?.();
  });
});
