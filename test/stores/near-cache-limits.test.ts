/** The near cache ends what it keeps in time, keeps no more than it may, and bridges an outage only where asked to. */
import { Redis } from "ioredis";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Store, StoreCall, StoreRecord } from "../../src/store.ts";
import { type NearCacheOptions, nearCache } from "../../src/stores/near-cache.ts";
import { type RedisStoreOptions, redisStore } from "../../src/stores/redis.ts";
import { type ManualClock, manualClock } from "../../src/testing/manual-clock.ts";
import { expectTook } from "../support/in-time.ts";
import { call, liveRecord, untilServing } from "../support/near-caches.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";

const key = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";
const second = "second-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBv";
const hour = 3_600_000;
const tuned = {
  commandTimeout: 1_000,
  socketTimeout: 5_000,
  maxRetriesPerRequest: 1,
  autoResendUnfulfilledCommands: false,
  retryStrategy: () => 50,
};

let redis: RedisServer;
let clock: ManualClock;
let ends: (() => Promise<unknown>)[];

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
beforeEach(async () => {
  await redis.command("FLUSHALL");
  clock = manualClock();
  ends = [];
});
afterEach(async () => {
  for (const end of ends) await end();
});

function connected(): Redis {
  const client = new Redis(redis.port, tuned);
  client.on("error", () => {});
  ends.push(async () => client.disconnect());
  return client;
}

function near(options: NearCacheOptions = {}, storeOptions: RedisStoreOptions = { clock: () => clock.now() }): Store {
  const store = nearCache(redisStore(connected(), storeOptions), options);
  ends.unshift(async () => store.close?.());
  return store;
}

const textOf = (record: StoreRecord | undefined): string | undefined =>
  record?.kind === "live" ? Buffer.from(record.payload).toString() : record?.kind;

/** Puts a record under `at` and has the store keep it. */
async function keep(store: Store, at: string = key, text = "{}", change = {}): Promise<void> {
  await untilServing(store, at);
  const known = await store.read(at, call());
  if (known?.kind !== "live") throw new Error("a live record");
  await store.write(at, liveRecord(store, text, change), known.version, call());
  await until(async () => {
    await store.read(at, call());
    return textOf(store.peek?.(at)) === text;
  }, "the store to keep it");
}

describe("a copy ends", () => {
  it("with its idle deadline, which may pass while it is kept", async () => {
    const store = near({ maxAge: "2d" });
    await keep(store, key, "idle", { absoluteExpiresAt: null });
    clock.advance(hour - 1);
    expect(textOf(store.peek?.(key))).toBe("idle");
    clock.advance(1);
    expect(store.peek?.(key)).toBeUndefined();
    expect(await store.read(key, call())).toMatchObject({ kind: "ended", reason: "expired" });
  });

  it("with its absolute deadline, whatever touches it got", async () => {
    const store = near({ maxAge: "2d" });
    await keep(store, key, "absolute", { absoluteExpiresAt: clock.now() + 2 * hour });
    const { version = "" } = store.peek?.(key) ?? {};
    clock.advance(hour - 1);
    const stamp = { version, touchedAt: clock.now(), expiresAt: clock.now() + 5 * hour };
    expect(await store.touch(key, stamp, call())).toBe("touched");
    clock.advance(hour);
    expect(textOf(store.peek?.(key))).toBe("absolute");
    clock.advance(1);
    expect(store.peek?.(key)).toBeUndefined();
    expect(await store.read(key, call())).toMatchObject({ kind: "ended", reason: "expired" });
  });

  it("when Redis's own clock says so, and Redis removed it", async () => {
    const store = near({}, {});
    await keep(store, key, "short", { expiresAt: store.now() + 400 });
    await until(() => store.peek?.(key) === undefined, "it to end");
    expect(textOf(await store.read(key, call()))).not.toBe("short");
  });

  it("at maxAge, and is read from Redis again", async () => {
    const store = near({ maxAge: 5_000 });
    await keep(store);
    clock.advance(4_999);
    expect(store.peek?.(key)).toBeDefined();
    clock.advance(1);
    expect(store.peek?.(key)).toBeUndefined();
    expect(textOf(await store.read(key, call()))).toBe("{}");
    expect(store.peek?.(key)).toBeDefined();
  });

  it("when max or maxSize is reached, the longest unused first", async () => {
    const few = near({ max: 1 });
    await keep(few);
    await keep(few, second);
    expect(few.peek?.(key)).toBeUndefined();
    const small = near({ maxSize: 5_000 });
    await keep(small, key, "x".repeat(3_000));
    await keep(small, second, "y".repeat(3_000));
    expect(small.peek?.(key)).toBeUndefined();
    expect(textOf(await small.read(key, call()))).toBe("x".repeat(3_000));
  });
});

describe("what is kept", () => {
  it("is the record as Redis has it, and its payload holds no larger buffer alive", async () => {
    const store = near();
    const other = redisStore(connected(), { clock: () => clock.now() });
    await keep(store, key, "of its own");
    const record = store.peek?.(key);
    expect(record).toEqual(await other.read(key, call()));
    expect(record?.payload.buffer.byteLength).toBe(record?.payload.byteLength);
  });

  it("is no tombstone, no pointer of a rotation, and no miss", async () => {
    const store = near();
    await keep(store);
    await store.remove(key, { reason: "logout", until: clock.now() + 60_000 }, call());
    expect(await store.read(key, call())).toMatchObject({ kind: "ended" });
    expect(store.peek?.(key)).toBeUndefined();
    await store.write(second, { ...liveRecord(store), kind: "moved" }, "absent", call());
    expect(await store.read(second, call())).toMatchObject({ kind: "moved" });
    expect(store.peek?.(second)).toBeUndefined();
    expect(await store.read("nobody", call())).toBeUndefined();
    expect(store.peek?.("nobody")).toBeUndefined();
  });
});

describe("an outage of Redis", () => {
  afterEach(async () => {
    await redis.restart();
  });

  it("ends every answer from memory", async () => {
    const store = near();
    await keep(store);
    await redis.kill();
    await until(() => store.peek?.(key) === undefined, "the cache to be empty");
    await expect(store.read(key, { ...call(), deadline: performance.now() + 300 })).rejects.toMatchObject({
      code: "ERR_SESSION_STORE",
    });
  });

  it("is bridged with maxStaleOnError, but never for a session that this node knows was changed or ended", async () => {
    const store = near({ maxStaleOnError: "1m" });
    const other = redisStore(connected(), { clock: () => clock.now() });
    await keep(store, key, "kept");
    for (const at of ["ended-here", "ended-there", "changed-there", "expiring"]) {
      await keep(store, at, at, at === "expiring" ? { expiresAt: clock.now() + hour / 2 } : {});
    }
    await store.remove("ended-here", { reason: "logout", until: clock.now() + 60_000 }, call());
    await other.remove("ended-there", { reason: "revoked", until: clock.now() + 60_000 }, call());
    await other.write("changed-there", liveRecord(other, "new"), store.peek?.("changed-there")?.version ?? "", call());
    await until(() => store.peek?.("changed-there") === undefined, "the cache to hear of the last change");
    await redis.kill();

    const within = (ms: number): StoreCall => ({ ...call(), deadline: performance.now() + ms });
    const started = performance.now();
    expect(textOf(await store.read(key, within(2_000)))).toBe("kept");
    // It does not wait for all of the request's time, and the next ones don't wait at all.
    expectTook(performance.now() - started, 1_500, "a stale answer");
    expect(textOf(store.peek?.(key))).toBe("kept");
    for (const at of ["ended-here", "ended-there", "changed-there"]) {
      expect(store.peek?.(at)).toBeUndefined();
      await expect(store.read(at, within(300)), at).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });
    }
    expect(textOf(await store.read("expiring", within(2_000)))).toBe("expiring");
    clock.advance(hour / 2);
    await expect(store.read("expiring", within(300))).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });

    // A logout that could not be written down is none that this node forgets.
    await expect(store.remove(key, { reason: "logout", until: clock.now() + 60_000 }, within(300))).rejects.toThrow();
    await expect(store.read(key, within(300))).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });
  });

  it("that lasts longer than maxStaleOnError is not bridged any more", async () => {
    const store = near({ maxStaleOnError: 1_500 });
    await keep(store);
    await redis.kill();
    const ask = (): Promise<string | undefined> =>
      store.read(key, { ...call(), deadline: performance.now() + 600 }).then(textOf, () => "refused");
    expect(await ask()).toBe("{}");
    await until(async () => (await ask()) === "refused", "the copy to be too old");
    expect(store.peek?.(key)).toBeUndefined();
  });
});

describe("wrong options", () => {
  it.each([
    ["max", 0],
    ["max", "10"],
    ["maxSize", 1.5],
    ["maxAge", 0],
    ["maxAge", "soon"],
    ["maxStaleOnError", -1],
    ["maxStaleOnError", Number.NaN],
    ["maxage", 1],
  ])("%s: %s is refused at start-up", (name, value) => {
    const store = redisStore(connected());
    expect(() => nearCache(store, { [name]: value })).toThrow(
      expect.objectContaining({
        code: "ERR_SESSION_OPTION",
        message: expect.stringContaining(`nearCache option ${name}`),
      }),
    );
  });

  it("a store that can't be tracked is refused, too, and one on a node-redis client", () => {
    const client = createClient({ url: redis.url });
    expect(() => nearCache(redisStore(client))).toThrow(
      expect.objectContaining({ code: "ERR_SESSION_OPTION", message: expect.stringContaining("ioredis") }),
    );
    // @ts-expect-error a store without tracking
    expect(() => nearCache({})).toThrow(expect.objectContaining({ code: "ERR_SESSION_OPTION" }));
  });
});
