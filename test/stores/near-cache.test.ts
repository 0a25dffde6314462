/** The near cache keeps the store contract with every kind of client that it takes. */
import { Cluster, Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { afterAll, beforeAll, beforeEach, describe } from "vitest";
import { nearCache } from "../../src/stores/near-cache.ts";
import { type RedisLike, redisStore } from "../../src/stores/redis.ts";
import { runStoreContract } from "../contract/store.ts";
import { untilServing } from "../support/near-caches.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";
import { type RedisCluster, type RedisSentinel, startCluster, startSentinel } from "../support/redis-topologies.ts";

const tuned = {
  commandTimeout: 2_000,
  socketTimeout: 5_000,
  maxRetriesPerRequest: 1,
  autoResendUnfulfilledCommands: false,
};

/** The key of the contract's cases. */
const exampleKey = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";

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
  "ioredis 5 with a keyPrefix and auto-pipelining": () =>
    new Redis5(single.port, { ...tuned, keyPrefix: "app:", enableAutoPipelining: true }),
  "an ioredis 6 Cluster with a keyPrefix": () =>
    new Cluster(cluster.startupNodes, { keyPrefix: "app:", redisOptions: tuned }),
  "ioredis 6 behind Sentinel": () =>
    new Redis({ sentinels: sentinel.sentinels, name: sentinel.name, failoverDetector: true, ...tuned }),
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
    runStoreContract("nearCache", async (clock) => {
      prefixes += 1;
      const prefix = `t${prefixes}:`;
      const store = nearCache(redisStore(client, { prefix, clock: () => clock.now() }));
      // The cases must meet a cache that serves, on an empty store.
      await untilServing(store, exampleKey);
      await (client as Redis).del(prefix + exampleKey);
      await until(() => store.peek?.(exampleKey) === undefined, "the cache to hear of it");
      return { store, end: async () => store.close?.() };
    });
  });
}
