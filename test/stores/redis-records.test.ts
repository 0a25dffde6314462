/** What stands in Redis: the record's bytes, the TTL of each key, the commands of each verb, and what is no record. */
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { NewRecord, Store } from "../../src/store.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { accepted, inTime, refused, textOf } from "../../src/testing/contract-kit.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const key = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";
const at = `holdfast:${key}`;
const hour = 3_600_000;

let server: RedisServer;
let redis: Redis;
let store: Store;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.port);
});

afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

beforeEach(async () => {
  await redis.flushall();
  store = redisStore(server.url);
});

afterEach(async () => {
  await store.close?.();
});

function record(text: string, change: Partial<NewRecord> = {}): NewRecord {
  const now = store.now();
  const stamps = { createdAt: now, touchedAt: now, expiresAt: now + hour, absoluteExpiresAt: now + 24 * hour };
  return { kind: "live", ...stamps, payload: Buffer.from(text), ...change };
}

async function create(text = "data", change: Partial<NewRecord> = {}): Promise<string> {
  return accepted(await store.write(key, record(text, change), "absent", inTime()));
}

describe("a record in Redis", () => {
  test("is a header of 69 ASCII bytes and the payload", async () => {
    await create("payload");
    const raw = await redis.get(at);
    expect(raw).toHaveLength(69 + "payload".length);
    expect(raw).toMatch(/^H1LBvAqTk[\w-]{8}A{16}[0-9a-z]{36}payload$/);
  });

  test("keeps the tokens of its last three writes, the newest first", async () => {
    const versions = [await create()];
    for (let round = 0; round < 4; round += 1) {
      versions.unshift(accepted(await store.write(key, record("data"), versions[0] ?? "", inTime())));
    }
    expect((await redis.get(at))?.slice(9, 33)).toBe(versions.slice(0, 3).join(""));
  });

  test("is a tombstone that names its reason once it ended", async () => {
    await create();
    await store.remove(key, { reason: "logout", until: store.now() + 60_000 }, inTime());
    expect(await redis.get(at)).toMatch(/^H1EBvAqTk[\w-]{8}A{16}[0-9a-z]{27}0{9}logout H1LBvAqTk/);
  });
});

describe("the TTL of a key", () => {
  test("is the idle deadline where that is the earlier one, after a write and a touch", async () => {
    const now = store.now();
    const version = await create("data", { expiresAt: now + hour });
    expect(await redis.pexpiretime(at)).toBe(now + hour);
    await store.touch(key, { version, touchedAt: now + 1, expiresAt: now + 2 * hour }, inTime());
    expect(await redis.pexpiretime(at)).toBe(now + 2 * hour);
    accepted(await store.write(key, record("data", { expiresAt: now + 3 * hour }), version, inTime()));
    expect(await redis.pexpiretime(at)).toBe(now + 3 * hour);
  });

  test("is the absolute deadline where that is the earlier one, after a write and a touch", async () => {
    const now = store.now();
    const version = await create("data", { expiresAt: now + 5 * hour, absoluteExpiresAt: now + 2 * hour });
    expect(await redis.pexpiretime(at)).toBe(now + 2 * hour);
    await store.touch(key, { version, touchedAt: now + 1, expiresAt: now + 9 * hour }, inTime());
    expect(await redis.pexpiretime(at)).toBe(now + 2 * hour);
  });

  test("is the end of the tombstone after a removal, of a record and of nothing", async () => {
    const until = store.now() + 60_000;
    await store.remove(key, { reason: "logout", until }, inTime());
    expect(await redis.pexpiretime(at)).toBe(until);
    await store.remove(key, { reason: "revoked", until: until + 5_000 }, inTime());
    expect(await redis.pexpiretime(at)).toBe(until + 5_000);
  });

  test("comes back with a touch where it was lost", async () => {
    const version = await create();
    await redis.persist(at);
    const now = store.now();
    await store.touch(key, { version, touchedAt: now, expiresAt: now + hour }, inTime());
    expect(await redis.pexpiretime(at)).toBe(now + hour);
  });

  test("is never missing, deadlines in the past included", async () => {
    for (const past of [0, store.now() - 1_000]) {
      await create("data", { expiresAt: past });
      await store.remove(`${key}x${past}`, { reason: "logout", until: past }, inTime());
    }
    await store.remove(`${key}y`, { reason: "logout", until: store.now() + 50 }, inTime());
    for (const name of await redis.keys("*")) expect(await redis.pttl(name)).not.toBe(-1);
  });
});

test("a record whose TTL was lost is dead at its deadline all the same", async () => {
  await create("data", { expiresAt: store.now() + 300 });
  await redis.persist(at);
  await expect.poll(() => store.read(key, inTime())).toMatchObject({ kind: "ended", reason: "expired" });
  expect(await redis.exists(at)).toBe(1);
  const stamp = { version: "AAAAAAAA", touchedAt: store.now(), expiresAt: store.now() + hour };
  expect(await store.touch(key, stamp, inTime())).toBe("gone");
  await create("new");
  expect(await redis.pttl(at)).toBeGreaterThan(0);
});

describe("the commands that Redis sees", () => {
  test("are one GET for a read and one EVALSHA for every other verb", async () => {
    const version = await create();
    await store.touch(key, { version, touchedAt: store.now(), expiresAt: store.now() + hour }, inTime());
    await store.remove(`${key}x`, { reason: "logout", until: store.now() + hour }, inTime());
    const monitor = await server.monitor();
    await store.read(key, inTime());
    const second = accepted(await store.write(key, record("two"), version, inTime()));
    await store.touch(key, { version: second, touchedAt: store.now(), expiresAt: store.now() + hour }, inTime());
    await store.remove(key, { reason: "logout", until: store.now() + hour }, inTime());
    await monitor.stop();
    const commands = monitor.lines.filter((line) => !line.includes(" lua]")).map((line) => line.split('"')[1]);
    expect(commands).toEqual(["get", "evalsha", "evalsha", "evalsha"]);
  });

  test("are one TIME besides, when the store connects", async () => {
    await store.read(key, inTime());
    const monitor = await server.monitor();
    const other = redisStore(server.url);
    for (let round = 0; round < 5; round += 1) await other.read(key, inTime());
    await other.close?.();
    await monitor.stop();
    const commands = monitor.lines.filter((line) => !line.includes(" lua]")).map((line) => line.split('"')[1]);
    expect(commands.filter((name) => name === "time")).toHaveLength(1);
    expect(commands.filter((name) => name === "get")).toHaveLength(5);
  });
});

describe("what is no record of ours", () => {
  const valid = `H1LBvAqTkabcdefghAAAAAAAAAAAAAAAA${"0mhn3q1zz".repeat(2)}zzzzzzzzz000000000data`;
  const cases: Record<string, string> = {
    "an empty string": "",
    text: "hello",
    "a connect-redis session": '{"cookie":{"originalMaxAge":null},"user":"alice"}',
    "a truncated header": valid.slice(0, 68),
    "an unknown kind": valid.replace("H1L", "H1Q"),
    "times that are no digits": valid.replace("zzzzzzzzz", "zzzz zzzz"),
    "capitals in the times": valid.replace("zzzzzzzzz", "ZZZZZZZZZ"),
    "tokens with other characters": valid.replace("abcdefgh", "abc\ndefg"),
    "a record that names another key": valid.replace("BvAqTk", "NvAqTK"),
    "a newer format under another key": valid.replace("H1", "H2").replace("BvAqTk", "NvAqTK"),
    "binary bytes": "\u0000\u00ff|H1L",
  };

  test("has a valid record to be compared with", async () => {
    await redis.set(at, valid);
    expect(textOf(await store.read(key, inTime()))).toBe("data");
  });

  test.each(Object.entries(cases))("%s is garbage: left alone by all verbs but remove", async (_, raw) => {
    await redis.set(at, Buffer.from(raw, "latin1"));
    const stamp = { version: "abcdefgh", touchedAt: store.now(), expiresAt: store.now() + hour };
    expect(await store.read(key, inTime())).toMatchObject({ kind: "garbage" });
    for (const expected of ["absent", "abcdefgh"]) {
      const result = await store.write(key, record("new"), expected, inTime());
      expect(refused(result)).toMatchObject({ kind: "garbage" });
    }
    expect(await store.touch(key, stamp, inTime())).toBe("gone");
    expect((await redis.getBuffer(at))?.toString("latin1")).toBe(raw);
    const before = await store.remove(key, { reason: "revoked", until: store.now() + hour }, inTime());
    expect(before).toMatchObject({ kind: "garbage" });
    expect(JSON.stringify(before)).not.toContain("alice");
    expect(await store.read(key, inTime())).toMatchObject({ kind: "ended", reason: "revoked" });
  });

  test("a key of another Redis type is garbage: left alone by all verbs but remove", async () => {
    await redis.hset(at, "user", "alice");
    const stamp = { version: "abcdefgh", touchedAt: store.now(), expiresAt: store.now() + hour };
    expect(await store.read(key, inTime())).toMatchObject({ kind: "garbage" });
    expect(refused(await store.write(key, record("new"), "absent", inTime()))).toMatchObject({ kind: "garbage" });
    expect(await store.touch(key, stamp, inTime())).toBe("gone");
    expect(await redis.hget(at, "user")).toBe("alice");
    const end = { reason: "logout", until: store.now() + hour } as const;
    expect(await store.remove(key, end, inTime())).toMatchObject({ kind: "garbage" });
    expect(await store.read(key, inTime())).toMatchObject({ kind: "ended", reason: "logout" });
  });

  test("a record of a newer format is left alone by all verbs, which reject with a 503", async () => {
    const newer = `H2LBvAqTk and whatever a later version writes`;
    await redis.set(at, newer);
    const now = store.now();
    const end = { reason: "logout", until: now + hour } as const;
    const refusal = { name: "SessionError", code: "ERR_SESSION_STORE", status: 503 };
    await expect(store.read(key, inTime())).rejects.toMatchObject(refusal);
    await expect(store.write(key, record("new"), "absent", inTime())).rejects.toMatchObject(refusal);
    const stamp = { version: "abcdefgh", touchedAt: now, expiresAt: now + hour };
    await expect(store.touch(key, stamp, inTime())).rejects.toMatchObject(refusal);
    await expect(store.remove(key, end, inTime())).rejects.toThrow(/finish the upgrade/);
    expect(await redis.get(at)).toBe(newer);
  });

  test("scripts and reader judge a damaged record alike, byte by byte", async () => {
    const bytes = "\u0000\n |-_09AZaz!\u00ff";
    for (let position = 0; position < 69; position += 1) {
      for (const byte of bytes) {
        const raw = Buffer.from(valid.slice(0, position) + byte + valid.slice(position + 1), "latin1");
        await redis.set(at, raw);
        const found = await store.read(key, inTime()).catch(() => "rejected" as const);
        const written = await store.write(key, record("new"), "absent", inTime()).catch(() => "rejected" as const);
        const isFree =
          found === undefined || (found !== "rejected" && found.kind === "ended" && found.reason === "expired");
        if (found === "rejected" || written === "rejected") expect(written).toBe(found);
        else expect(written.ok ? "free" : written.current).toEqual(isFree ? "free" : found);
        if (!isFree) expect((await redis.getBuffer(at))?.equals(raw)).toBe(true);
      }
    }
  });

  test("an answer that belongs to another request is never this session", async () => {
    await create("of alice");
    await redis.copy(at, `holdfast:${key.slice(0, -6)}Other1`);
    expect(await store.read(`${key.slice(0, -6)}Other1`, inTime())).toEqual({
      kind: "garbage",
      detail: "a session record that names another key",
    });
  });
});
