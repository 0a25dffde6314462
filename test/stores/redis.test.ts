/** The Redis store keeps the store contract with every kind of client that it takes. */
import { Cluster, Redis } from "ioredis";
import { Cluster as Cluster5, Redis as Redis5 } from "ioredis5";
import { afterAll, beforeAll, beforeEach, describe } from "vitest";
import { type RedisLike, redisStore } from "../../src/stores/redis.ts";
import { runStoreContract } from "../contract/store.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { type RedisCluster, type RedisSentinel, startCluster, startSentinel } from "../support/redis-topologies.ts";

const tuned = {
  commandTimeout: 2_000,
  socketTimeout: 5_000,
  maxRetriesPerRequest: 1,
  autoResendUnfulfilledCommands: false,
};

let single: RedisServer;
let cluster: RedisCluster;
let sentinel: RedisSentinel;
let prefixes = 0;

beforeAll(async () => {
  [single, cluster, sentinel] = await Promise.all([startRedis(), startCluster(), startSentinel()]);
});

afterAll(async () => {
  await Promise.all([single.stop(), cluster.stop(), sentinel.stop()]);
});

const clients: Record<string, () => RedisLike> = {
  "ioredis 6": () => new Redis(single.port, tuned),
  "ioredis 5": () => new Redis5(single.port, tuned),
  "ioredis 6 with RESP2": () => new Redis(single.port, { ...tuned, protocol: 2 }),
  "ioredis 6 with RESP3 replies unmapped": () => new Redis(single.port, { ...tuned, replyMapping: "resp3" }),
  "ioredis 6 with auto-pipelining": () => new Redis(single.port, { ...tuned, enableAutoPipelining: true }),
  "ioredis 5 with auto-pipelining": () => new Redis5(single.port, { ...tuned, enableAutoPipelining: true }),
  "ioredis 6 with stringNumbers": () => new Redis(single.port, { ...tuned, stringNumbers: true }),
  "ioredis 6 with a keyPrefix and another database": () =>
    new Redis(single.port, { ...tuned, keyPrefix: "app:", db: 3 }),
  "ioredis 5 with a keyPrefix": () => new Redis5(single.port, { ...tuned, keyPrefix: "app:" }),
  "ioredis 6 without an offline queue": () => new Redis(single.port, { ...tuned, enableOfflineQueue: false }),
  "ioredis 6 with lazyConnect": () => new Redis(single.port, { ...tuned, lazyConnect: true }),
  "an ioredis 6 Cluster": () => new Cluster(cluster.startupNodes, { redisOptions: tuned }),
  "an ioredis 5 Cluster": () => new Cluster5(cluster.startupNodes, { redisOptions: tuned }),
  "an ioredis 6 Cluster with a keyPrefix and auto-pipelining": () =>
    new Cluster(cluster.startupNodes, { keyPrefix: "app:", enableAutoPipelining: true, redisOptions: tuned }),
  "an ioredis 5 Cluster with a keyPrefix and auto-pipelining": () =>
    new Cluster5(cluster.startupNodes, { keyPrefix: "app:", enableAutoPipelining: true, redisOptions: tuned }),
  "ioredis 6 behind Sentinel": () =>
    new Redis({ sentinels: sentinel.sentinels, name: sentinel.name, failoverDetector: true, ...tuned }),
  "ioredis 5 behind Sentinel": () =>
    new Redis5({ sentinels: sentinel.sentinels, name: sentinel.name, failoverDetector: true, ...tuned }),
};

for (const [what, connect] of Object.entries(clients)) {
  describe(what, () => {
    let client: RedisLike;
    beforeEach(() => {
      client ??= connect();
    });
    afterAll(() => {
      client.disconnect();
    });
    runStoreContract("redisStore", async (clock) => {
      prefixes += 1;
      const store = redisStore(client, { prefix: `t${prefixes}:`, clock: () => clock.now() });
      return { store, end: async () => store.close?.() };
    });
  });
}

describe("a URL", () => {
  runStoreContract("redisStore", async (clock) => {
    prefixes += 1;
    const store = redisStore(single.url, { prefix: `t${prefixes}:`, clock: () => clock.now() });
    return { store, end: async () => store.close?.() };
  });
});
