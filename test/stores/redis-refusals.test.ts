/** What the Redis store does when Redis answers and says no: a full memory, an ACL. */
import { inspect } from "node:util";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { NewRecord, Store } from "../../src/store.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { accepted, inTime } from "../../src/testing/contract-kit.ts";
import { expectTook } from "../support/in-time.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const key = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";
const hour = 3_600_000;

let server: RedisServer;
let redis: Redis;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  server = await startRedis();
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

function record(store: Store, text: string): NewRecord {
  const now = store.now();
  const payload = Buffer.from(text);
  return { kind: "live", createdAt: now, touchedAt: now, expiresAt: now + hour, absoluteExpiresAt: null, payload };
}

async function create(store: Store, text = "data"): Promise<string> {
  return accepted(await store.write(key, record(store, text), "absent", inTime()));
}

describe("a refusal by Redis", () => {
  test("is a SessionError at once, whose cause shows no session data", async () => {
    const store = open(server.url);
    await store.read(key, inTime());
    await redis.config("SET", "maxmemory", "1");
    const start = performance.now();
    const failure = await store.write(key, record(store, "topsecret"), "absent", inTime()).catch((error) => error);
    const took = performance.now() - start;
    await redis.config("SET", "maxmemory", "0");
    expect(failure).toMatchObject({ name: "SessionError", code: "ERR_SESSION_STORE", status: 503 });
    expect(failure.cause.message).toMatch(/^OOM/);
    expectTook(took, 200, "a refusal");
    const shown = inspect(failure, { depth: 10 });
    expect(shown).not.toContain("topsecret");
    expect(shown).not.toContain(Buffer.from("topsecret").toString("hex").replace(/../g, "$& ").trim());
  });

  test("names what an ACL user needs", async () => {
    await redis.acl("SETUSER", "poor", "on", ">poor", "~*", "+get", "+info");
    const store = open(server.url.replace("redis://", "redis://poor:poor@"));
    await expect(store.read(key, inTime())).rejects.toThrow(/\+time \+info \+evalsha/);
  });

  test("needs no more than the commands that its message names", async () => {
    const commands = [
      "+get",
      "+time",
      "+info",
      "+evalsha",
      "+eval",
      "+type",
      "+getrange",
      "+set",
      "+setrange",
      "+pexpireat",
    ];
    await redis.acl("SETUSER", "rich", "on", ">rich", "~holdfast:*", ...commands, "+unlink");
    const store = open(server.url.replace("redis://", "redis://rich:rich@"));
    const version = await create(store);
    const stamp = { version, touchedAt: store.now(), expiresAt: store.now() + hour };
    expect(await store.touch(key, stamp, inTime())).toBe("touched");
    expect(await store.read(key, inTime())).toMatchObject({ kind: "live" });
    await store.remove(key, { reason: "logout", until: store.now() + hour }, inTime());
    expect(await store.read(key, inTime())).toMatchObject({ kind: "ended" });
  });
});

test("logout and touch work when Redis is out of memory", async () => {
  const store = open(server.url);
  const version = await create(store);
  await redis.config("SET", "maxmemory", "1");
  try {
    const expiresAt = store.now() + 2 * hour;
    expect(await store.touch(key, { version, touchedAt: store.now(), expiresAt }, inTime())).toBe("touched");
    expect(await store.read(key, inTime())).toMatchObject({ kind: "live", expiresAt });
    await store.remove(key, { reason: "logout", until: expiresAt }, inTime());
    await store.remove(`${key}x`, { reason: "logout", until: expiresAt }, inTime());
    expect(await store.read(key, inTime())).toMatchObject({ kind: "ended", reason: "logout" });
    expect(await store.read(`${key}x`, inTime())).toMatchObject({ kind: "ended", reason: "logout" });
  } finally {
    await redis.config("SET", "maxmemory", "0");
  }
});
