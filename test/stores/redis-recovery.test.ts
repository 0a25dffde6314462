/** How the Redis store comes back: clients that pause too long or ended by mistake, masters that became replicas. */
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { redisStore } from "../../src/stores/redis.ts";
import { mayBeResent } from "../../src/stores/redis-client.ts";
import { serverRisks } from "../../src/stores/redis-client-check.ts";
import { accepted, inTime, live } from "../../src/testing/contract-kit.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";
import { type RedisSentinel, startCluster, startSentinel } from "../support/redis-topologies.ts";

const key = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";
const ends: (() => unknown)[] = [];

let server: RedisServer;

beforeAll(async () => {
  server = await startRedis({ appendonly: true });
});

afterAll(() => server.stop());

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const within = (ms: number): { deadline: number; durable: boolean } => ({
  deadline: performance.now() + ms,
  durable: false,
});

/** A client whose pause before it connects again is longer than any test. */
const patient = { retryStrategy: () => 60_000 };

describe.each([
  ["ioredis 6", () => new Redis(server.port, patient)],
  ["ioredis 5", () => new Redis5(server.port, patient)],
] as const)("a client of %s that waits before it connects again", (_, connect) => {
  test("is woken by who needs it, so that sessions are back when Redis is", async () => {
    const client = connect();
    client.on("error", () => {});
    ends.push(() => client.disconnect());
    const store = redisStore(client);
    ends.push(() => store.close?.());
    await store.read(key, inTime());
    await server.kill();
    await until(() => client.status === "reconnecting", "the client to wait");
    await expect(store.read(key, within(400))).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });
    await server.restart();
    expect(await store.read(key, within(1_000))).toBeUndefined();
  });

  test("is woken no more, and stays ended, once its owner ended it", async () => {
    const client = connect();
    client.on("error", () => {});
    const store = redisStore(client);
    ends.push(() => store.close?.());
    await store.read(key, inTime());
    await server.kill();
    await until(() => client.status === "reconnecting", "the client to wait");
    await expect(store.read(key, within(300))).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });
    client.disconnect();
    await server.restart();
    await expect(store.read(key, within(500))).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });
    // ioredis calls an ended client that was waiting "reconnecting" for ever; on its way already, it has an end.
    expect(["reconnecting", "end"]).toContain(client.status);
  });
});

describe("a master that became a replica", () => {
  test("is left at its first READONLY, and the write is done within the deadline where it is master again", async () => {
    const client = new Redis(server.port, { commandTimeout: 500, socketTimeout: 2_500 });
    ends.push(() => client.disconnect());
    const store = redisStore(client);
    ends.push(() => store.close?.());
    await store.read(key, inTime());
    const connection = await client.client("ID");
    await server.command("REPLICAOF", "127.0.0.1", "1");
    const writing = store.write(key, live(manualClock()), "absent", inTime());
    await until(async () => /errorstat_READONLY/.test(await server.command("INFO", "errorstats")), "the refusal");
    await server.command("REPLICAOF", "NO", "ONE");
    accepted(await writing);
    expect(await client.client("ID")).not.toBe(connection);
    await store.remove(key, { reason: "logout", until: Date.now() + 1_000 }, inTime());
  });
});

describe("a Sentinel client that ended by mistake", () => {
  let sentinel: RedisSentinel;
  beforeAll(async () => {
    sentinel = await startSentinel();
  });
  afterAll(() => sentinel.stop());

  const connect = (): Redis => {
    const client = new Redis({ sentinels: sentinel.sentinels, name: sentinel.name, failoverDetector: true });
    client.on("error", () => {});
    return client;
  };

  test("while it was looking for the master, as ioredis does at +switch-master, is begun again", async () => {
    const client = connect();
    ends.push(() => client.disconnect());
    const store = redisStore(client);
    ends.push(() => store.close?.());
    expect(client.status).toBe("connecting");
    // What its failover detector does.
    Reflect.get(client, "connector").disconnect();
    await until(() => client.status === "end", "the client to end");
    expect(await store.read(key, inTime())).toBeUndefined();
  });

  test("is left alone where its owner ended it", async () => {
    const client = connect();
    const store = redisStore(client);
    ends.push(() => store.close?.());
    client.disconnect();
    await until(() => client.status === "end", "the client to end");
    await expect(store.read(key, inTime())).rejects.toThrow(/was ended/);
  });
});

test("a single client before a Cluster is told what to use", async () => {
  const cluster = await startCluster(3);
  ends.push(() => cluster.stop());
  const urls = cluster.nodes.map(({ port }) => `redis://127.0.0.1:${port}`);
  const answers = await Promise.all(
    urls.map(async (url) => {
      const store = redisStore(url);
      const answer = await store.read(key, inTime()).catch((error: unknown) => error);
      await store.close?.();
      return answer;
    }),
  );
  const refusals = answers.filter((answer) => answer !== undefined);
  expect(refusals).toHaveLength(2);
  for (const refusal of refusals) {
    expect(refusal).toMatchObject({ message: expect.stringMatching(/MOVED.*it is a Cluster: .*redis\+cluster:/) });
  }
});

test("a command may have been sent twice where its connection is younger, or a Cluster had the time to repeat it", () => {
  const now = performance.now();
  const single = Object.assign(new Redis({ lazyConnect: true }), {});
  expect(mayBeResent(single, now, now - 10)).toBe(false);
  expect(mayBeResent(single, now, now + 10)).toBe(true);
  const cluster = new Redis.Cluster([1], { lazyConnect: true, retryDelayOnFailover: 100 });
  expect(mayBeResent(cluster, now - 150, now - 1_000)).toBe(true);
  expect(mayBeResent(cluster, performance.now() - 10, 0)).toBe(false);
  const exact = new Redis.Cluster([1], { lazyConnect: true, retryDelayOnFailover: 0 });
  expect(mayBeResent(exact, now - 150, now - 1_000)).toBe(false);
});

describe("a server that would lose sessions", () => {
  async function warningsOf(url: string): Promise<string[]> {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    const store = redisStore(url);
    await store.read(key, inTime());
    // INFO was sent before the read.
    await store.read(key, inTime());
    await store.close?.();
    const messages = warn.mock.calls.map(([message, options]) => `${Reflect.get(Object(options), "code")} ${message}`);
    warn.mockRestore();
    return messages;
  }

  test("as it evicts keys is reported once", async () => {
    await server.command("CONFIG", "SET", "maxmemory", "100mb");
    await server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    const warnings = await warningsOf(server.url);
    await server.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
    expect(warnings).toEqual([
      expect.stringMatching(/^HOLDFAST_REDIS_SERVER .*maxmemory-policy is allkeys-lru, .*set noeviction/),
    ]);
    expect(await warningsOf(server.url)).toEqual([]);
  });

  test("and may not be asked is not reported, and serves all the same", async () => {
    await server.command("CONFIG", "SET", "maxmemory-policy", "volatile-ttl");
    await server.command("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-info", "-config");
    const quiet = vi.spyOn(console, "warn").mockImplementation(() => {});
    const warnings = await warningsOf(`redis://app:pw@127.0.0.1:${server.port}`);
    quiet.mockRestore();
    await server.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
    expect(warnings).toEqual([]);
  });

  test("is told apart from one that would not", () => {
    expect(serverRisks("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:1", true)).toEqual([]);
    expect(serverRisks("maxmemory:9\r\nmaxmemory_policy:noeviction\r\naof_enabled:0", false)).toEqual([]);
    expect(serverRisks("maxmemory:9\r\nmaxmemory_policy:volatile-lru\r\naof_enabled:0", true)).toEqual([
      expect.stringMatching(/^maxmemory-policy is volatile-lru/),
      expect.stringMatching(/^appendonly is no: a restart loses/),
    ]);
    expect(serverRisks("undefined", true)).toEqual([]);
  });
});
