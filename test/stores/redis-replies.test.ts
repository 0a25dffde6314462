/**
 * The replies of a Redis that fails over, starts or moves slots: a read and a compare-and-set write that meet one are
 * done again within the call's time, and count once. Each reply comes from a real redis-server, in the place of one
 * command.
 */
import { Redis } from "ioredis";
import { createClient, createCluster } from "redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StoreCall } from "../../src/store.ts";
import { type CapableStore, redisStore } from "../../src/stores/redis.ts";
import type { Era, TrackedStore } from "../../src/stores/tracking.ts";
import { accepted, live, textOf } from "../../src/testing/contract-kit.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { until } from "../support/deferred.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { type RedisCluster, startCluster } from "../support/redis-topologies.ts";
import { type RefusingProxy, startRefusingProxy } from "../support/refusing-proxy.ts";

/** As Redis 7 words them. */
const passing = [
  "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
  "CLUSTERDOWN The cluster is down",
  "LOADING Redis is loading the dataset in memory",
  "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
  "NOREPLICAS Not enough good replicas to write.",
  "READONLY You can't write against a read only replica.",
  "TRYAGAIN Multiple keys request during rehashing of slot",
];

let single: RedisServer;
let cluster: RedisCluster;
let before: RefusingProxy;
let beforeCluster: RefusingProxy;
const ends: (() => unknown)[] = [];
let keys = 0;

beforeAll(async () => {
  [single, cluster] = await Promise.all([startRedis(), startCluster(1)]);
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error("no node");
  [before, beforeCluster] = await Promise.all([startRefusingProxy(single.port), startRefusingProxy(node.port)]);
  // Who asks the Cluster for its nodes is sent to the proxy.
  const announced = ["cluster-announce-ip", "127.0.0.1", "cluster-announce-port", String(beforeCluster.port)];
  await node.command("CONFIG", "SET", ...announced);
});

afterAll(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await Promise.all([before.stop(), beforeCluster.stop()]);
  await Promise.all([single.stop(), cluster.stop()]);
});

/** A key that looks as the engine's do, another each time. */
function newKey(): string {
  keys += 1;
  return String(keys).padStart(43, "k");
}

/** `storeTimeout`'s default. */
const call = (): StoreCall => ({ deadline: performance.now() + 2_000, durable: false });

function kept<T extends { disconnect?(): unknown; destroy?(): unknown }>(client: T): T {
  ends.push(() => (client.destroy === undefined ? client.disconnect?.() : client.destroy()));
  return client;
}

const stores: Record<string, (port: number) => CapableStore> = {
  "a URL": (port) => redisStore(`redis://127.0.0.1:${port}`),
  "an ioredis client of the user's": (port) => redisStore(kept(new Redis({ port }))),
  "a node-redis client": (port) => redisStore(kept(createClient({ url: `redis://127.0.0.1:${port}` }))),
  "a Cluster's URL": (port) => redisStore(`redis+cluster://127.0.0.1:${port}`),
  "a node-redis Cluster client": (port) =>
    redisStore(kept(createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }] }))),
};

/** A read and a write that each meet the reply once. */
async function expectRepeated(store: CapableStore, proxy: RefusingProxy, reply: string): Promise<void> {
  const key = newKey();
  const first = accepted(await store.write(key, live(manualClock(), "one"), "absent", call()));
  const refused = proxy.refused;
  proxy.refuse("GET", reply);
  expect(textOf(await store.read(key, call()))).toBe("one");
  expect(proxy.refused).toBe(refused + 1);
  proxy.refuse("EVALSHA", reply);
  // Compare-and-set: what was applied before it was repeated would be refused here, or stand in `current`.
  const second = accepted(await store.write(key, live(manualClock(), "two"), first, call()));
  expect(proxy.refused).toBe(refused + 2);
  const stands = await store.read(key, call());
  expect(stands).toMatchObject({ kind: "live", version: second });
  expect(textOf(stands)).toBe("two");
}

describe.each(Object.entries(stores))("with %s", (what, open) => {
  const isCluster = what.includes("Cluster");
  let store: CapableStore;
  beforeAll(() => {
    store = open((isCluster ? beforeCluster : before).port);
    ends.push(() => store.close?.());
  });

  it.each(passing)("a read and a write that are answered %s are done again within their time, once", async (reply) => {
    await expectRepeated(store, isCluster ? beforeCluster : before, reply);
  });

  it.each(isCluster ? ["MOVED", "ASK"] : [])("a read and a write that are answered %s follow it", async (code) => {
    await expectRepeated(store, beforeCluster, `${code} 1 127.0.0.1:${beforeCluster.port}`);
  });
});

describe("on a near cache's tracked connection", () => {
  const doubtful = passing.filter((reply) => /^(CLUSTERDOWN|LOADING|MASTERDOWN|READONLY) /.test(reply));
  const harmless = passing.filter((reply) => !doubtful.includes(reply));

  let store: CapableStore;
  let tracked: TrackedStore;
  beforeAll(() => {
    store = redisStore(`redis://127.0.0.1:${before.port}`);
    tracked = store.track(() => {});
    ends.push(async () => {
      await tracked.close();
      await store.close?.();
    });
  });

  async function readRefused(reply: string): Promise<Era | undefined> {
    const key = newKey();
    accepted(await store.write(key, live(manualClock(), "one"), "absent", call()));
    await until(() => tracked.eraOf(key) !== undefined, "tracking");
    const era = tracked.eraOf(key);
    const refused = before.refused;
    before.refuse("GET", reply);
    expect(textOf(await tracked.read(key, call()))).toBe("one");
    expect(before.refused).toBe(refused + 1);
    return era;
  }

  it.each(doubtful)("%s ends the trust in its copies, and the read is answered elsewhere", async (reply) => {
    expect(await readRefused(reply)).toMatchObject({ trustedUntil: 0 });
  });

  it.each([...harmless, "MOVED 1 127.0.0.1:1", "ASK 1 127.0.0.1:1"])(
    "%s leaves its copies alone, and the read is answered elsewhere",
    async (reply) => {
      const era = await readRefused(reply);
      expect(era?.trustedUntil).toBeGreaterThan(performance.now());
    },
  );
});
