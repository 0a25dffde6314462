/** The client behind a Redis store: one that was handed in is left as it was; a URL makes one that is sane and closed. */
import { once } from "node:events";
import { Cluster, Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { redisStore } from "../../src/stores/redis.ts";
import { openClient } from "../../src/stores/redis-client.ts";
import { missingSettings } from "../../src/stores/redis-client-check.ts";
import { inTime, live } from "../../src/testing/contract-kit.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { expectTook } from "../support/in-time.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const key = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";

let server: RedisServer;

beforeAll(async () => {
  server = await startRedis();
});

afterAll(async () => {
  await server.stop();
});

function looks(client: Redis): unknown {
  const listeners = client.eventNames().map((name) => [name, client.listenerCount(name)]);
  return { own: Reflect.ownKeys(client), options: structuredClone(JSON.stringify(client.options)), listeners };
}

describe("a client that was handed in", () => {
  test("is as it was, once the store is closed: no command, option or listener added or removed", async () => {
    const client = new Redis(server.port, { keyPrefix: "app:" });
    await once(client, "ready");
    client.on("ready", () => {});
    const before = looks(client);
    const store = redisStore(client);
    await store.write(key, live(manualClock()), "absent", inTime());
    await store.remove(key, { reason: "logout", until: Date.now() + 1_000 }, inTime());
    await store.close?.();
    expect(looks(client)).toEqual(before);
    expect(client.status).toBe("ready");
    expect(await client.ping()).toBe("PONG");
    client.disconnect();
  });

  test("gets the keys under its own keyPrefix", async () => {
    const client = new Redis(server.port, { keyPrefix: "app:" });
    const store = redisStore(client, { prefix: "s:" });
    await store.write(key, live(manualClock()), "absent", inTime());
    expect(await server.command("EXISTS", `app:s:${key}`)).toBe(":1");
    await store.close?.();
    client.disconnect();
  });

  test("is refused any command through a store that was closed", async () => {
    const client = new Redis(server.port);
    const store = redisStore(client);
    await store.close?.();
    await store.close?.();
    await expect(store.read(key, inTime())).rejects.toThrow(/store was closed/);
    client.disconnect();
  });

  test("is not connected before its first use when it is lazy", async () => {
    const client = new Redis(server.port, { lazyConnect: true });
    const store = redisStore(client);
    expect(client.status).toBe("wait");
    expect(await store.read(key, inTime())).toBeUndefined();
    expect(client.status).toBe("ready");
    await store.close?.();
    client.disconnect();
  });

  test("is reported once for the settings that it lacks", async () => {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    const client = new Redis(server.port, { lazyConnect: true });
    await redisStore(client).close?.();
    await redisStore(client).close?.();
    const calls = warn.mock.calls;
    warn.mockRestore();
    expect(calls).toHaveLength(1);
    const [message, options] = calls[0] ?? [];
    expect(options).toMatchObject({ code: "HOLDFAST_REDIS_CLIENT" });
    expect(String(message)).toMatch(/commandTimeout is undefined, set 500; socketTimeout is undefined, set 2500/);
    expect(String(message)).toMatch(/maxRetriesPerRequest is 20, set 1; autoResendUnfulfilledCommands is true/);
  });

  test("lacks nothing when it has what the URL form has", () => {
    const node = { commandTimeout: 500, socketTimeout: 2_500 };
    const tuned = { ...node, maxRetriesPerRequest: 1, autoResendUnfulfilledCommands: false, lazyConnect: true };
    const sentinels = [{ host: "127.0.0.1", port: 1 }];
    expect(missingSettings(new Redis(tuned))).toEqual([]);
    const watched = { ...tuned, sentinels, name: "m", failoverDetector: true, sentinelCommandTimeout: 500 };
    expect(missingSettings(new Redis(watched))).toEqual([]);
    const cluster = { lazyConnect: true, enableOfflineQueue: false, redisOptions: node };
    expect(missingSettings(new Cluster([server.port], cluster))).toEqual([]);
  });

  test("is told each setting that it lacks, with its value now and what to set", () => {
    const missing = missingSettings(
      new Redis({ lazyConnect: true, maxRetriesPerRequest: null, retryStrategy: () => null }),
    );
    expect(missing).toEqual([
      "commandTimeout is undefined, set 500",
      "socketTimeout is undefined, set 2500",
      "maxRetriesPerRequest is null, set 1",
      "autoResendUnfulfilledCommands is true, set false",
      "enableOfflineQueue is true, set false: an outage fills the queue, which has no limit",
    ]);
    const sentinels = [{ host: "127.0.0.1", port: 1 }];
    expect(
      missingSettings(new Redis({ lazyConnect: true, sentinels, name: "m", role: "slave", readOnly: true })),
    ).toEqual(
      expect.arrayContaining([
        "failoverDetector is false, set true",
        "sentinelCommandTimeout is undefined, set 500",
        'role is slave, set "master" (a replica takes no write)',
        "readOnly is true, set false (a replica takes no write)",
      ]),
    );
    expect(missingSettings(new Redis({ lazyConnect: true, retryStrategy: Object(null) }))).toContain(
      "retryStrategy is [object Object], set a function: without it one lost connection is the last",
    );
    expect(missingSettings(new Cluster([server.port], { lazyConnect: true, scaleReads: "slave" }))).toEqual([
      "redisOptions.commandTimeout is undefined, set 500",
      "redisOptions.socketTimeout is undefined, set 2500",
      expect.stringMatching(/^scaleReads is slave/),
      expect.stringMatching(/^enableOfflineQueue is true, set false: what waits in a Cluster's queue/),
    ]);
  });
});

describe("a URL", () => {
  test("makes a client that the store closes", async () => {
    const store = redisStore(server.url);
    await store.read(key, inTime());
    expect(await server.command("INFO", "clients")).toMatch(/connected_clients:2/);
    await store.close?.();
    await expect.poll(() => server.command("INFO", "clients")).toMatch(/connected_clients:1/);
    await expect(store.read(key, inTime())).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });
  });

  test("makes a client that lacks none of the settings that are asked of others", () => {
    const client = openClient(server.url, {});
    expect(missingSettings(client)).toEqual([]);
    client.disconnect();
  });

  test("selects the database that it names", async () => {
    const store = redisStore(`${server.url}/5`);
    await store.write(key, live(manualClock()), "absent", inTime());
    expect(await server.command("INFO", "keyspace")).toContain("db5:keys=1");
    await store.close?.();
  });

  test("without a Redis behind it makes no uncaught error, and closes in a bounded time", async () => {
    const store = redisStore("redis://127.0.0.1:1");
    const call = { deadline: performance.now() + 100, durable: false };
    await expect(store.read(key, call)).rejects.toMatchObject({ code: "ERR_SESSION_STORE", status: 503 });
    const start = performance.now();
    await store.close?.();
    expectTook(performance.now() - start, 700, "close()");
  });

  test("with a Redis that hangs closes in a bounded time", async () => {
    const store = redisStore(server.url);
    await store.read(key, inTime());
    server.pause();
    const start = performance.now();
    await store.close?.();
    const took = performance.now() - start;
    server.resume();
    expectTook(took, 800, "close()");
  });
});

describe("a wrong argument is refused with what was received and the cure", () => {
  const open = redisStore as (...args: unknown[]) => unknown;
  const url = "redis://127.0.0.1:1";
  test.each([
    [[undefined], /received undefined; hand in an ioredis client/],
    [[null], /received null/],
    [[{ sendCommand() {} }], /a node-redis client/],
    [[{}], /received object/],
    [["http://host:1"], /received "http:\/\/host:1"; write "redis:/],
    [["localhost:6379"], /received "localhost:.*; write "redis:/],
    [["redis://"], /write "redis:/],
    [["not a url"], /9 characters that are no URL/],
    [["memcached://user:topsecret@host"], /received "memcached:\/\/host"/],
    [[url, 5], /received 5; write an object/],
    [[url, { prefix: 5 }], /prefix: received 5/],
    [[url, { clock: 5 }], /clock: received 5/],
    [[url, { commandTimeout: "1s" }], /commandTimeout: received 1s; write whole ms/],
    [[url, { socketTimeout: 0 }], /socketTimeout: received 0/],
    [[url, { tls: true }], /tls: received true/],
    [[url, { ttl: 5 }], /ttl: received an unknown option; there are prefix, clock/],
  ])("%j", (args, message) => {
    expect(() => open(...args)).toThrow(expect.objectContaining({ code: "ERR_SESSION_OPTION" }));
    expect(() => open(...args)).toThrow(message);
    expect(() => open(...args)).not.toThrow(/topsecret/);
  });

  test("a connection's setting beside a client that was handed in", () => {
    const client = new Redis({ lazyConnect: true });
    expect(() => redisStore(client, { commandTimeout: 5 })).toThrow(/set it on the client you hand in/);
  });
});
