/** The store's clock is Redis's, whatever the local wall clock says or does. */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { redisStore } from "../../src/stores/redis.ts";
import { RedisClock } from "../../src/stores/redis-clock.ts";
import { inTime } from "../../src/testing/contract-kit.ts";
import { expectTook } from "../support/in-time.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const key = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";

describe("a clock that samples Redis's", () => {
  test("tells the local time until the first sample, and Redis's after it", () => {
    const clock = new RedisClock();
    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(20);
    expect(clock.synced).toBe(false);
    const at = performance.now();
    clock.sample(1_000_000, at - 4, at);
    expect(clock.synced).toBe(true);
    expect(clock.now()).toBeGreaterThanOrEqual(1_000_002);
    expect(clock.now()).toBeLessThan(1_000_102);
  });

  test("does not move for a slow answer that proves nothing", () => {
    const clock = new RedisClock();
    const at = performance.now();
    clock.sample(1_000_000, at, at + 1);
    const before = clock.now() - performance.now();
    clock.sample(1_000_000, at - 500, at + 500);
    expect(Math.abs(clock.now() - performance.now() - before)).toBeLessThan(2);
  });

  test("follows a sample that proves it wrong, and no further", () => {
    const clock = new RedisClock();
    const at = performance.now();
    clock.sample(1_000_000, at, at);
    clock.sample(2_000_000, at, at + 10);
    const ahead = clock.now() - (performance.now() - at);
    expect(ahead).toBeGreaterThanOrEqual(1_999_988);
    expect(ahead).toBeLessThanOrEqual(1_999_991);
    clock.sample(1_500_000, at - 10, at);
    const back = clock.now() - (performance.now() - at);
    expect(back).toBeGreaterThanOrEqual(1_500_009);
    expect(back).toBeLessThanOrEqual(1_500_012);
  });
});

describe("a node whose wall clock is wrong", () => {
  let server: RedisServer;

  beforeAll(async () => {
    server = await startRedis();
  });

  afterEach(() => {
    vi.restoreAllMocks();
  });

  afterAll(async () => {
    await server.stop();
  });

  test.each([-300_000, 300_000])("by %i ms agrees with Redis from the first read on", async (skew) => {
    const real = Date.now;
    vi.spyOn(Date, "now").mockImplementation(() => real() + skew);
    const store = redisStore(server.url);
    await store.read(key, inTime());
    expectTook(Math.abs(store.now() - real()), 50, "Redis's answer about its clock");
    const now = store.now();
    const stamps = { createdAt: now, touchedAt: now, expiresAt: now + 60_000, absoluteExpiresAt: null };
    await store.write(key, { kind: "live", ...stamps, payload: Buffer.from("x") }, "absent", inTime());
    expect(await store.read(key, inTime())).toMatchObject({ kind: "live" });
    await store.remove(key, { reason: "logout", until: now + 1 }, inTime());
    await store.close?.();
  });

  test("that jumps while it runs changes nothing", async () => {
    const store = redisStore(server.url);
    await store.read(key, inTime());
    const real = Date.now;
    vi.spyOn(Date, "now").mockImplementation(() => real() + 3_600_000);
    expectTook(Math.abs(store.now() - real()), 50, "Redis's answer about its clock");
    await store.close?.();
  });
});
