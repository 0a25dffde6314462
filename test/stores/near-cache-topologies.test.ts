/** The near cache over failovers and resharding: what it keeps belongs to a master, and ends with that one's rule. */
import slotOf from "cluster-key-slot";
import { Cluster, Redis } from "ioredis";
import { Cluster as Cluster5 } from "ioredis5";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../../examples/cluster/free-port.mjs";
import type { Store, StoreRecord } from "../../src/store.ts";
import { nearCache } from "../../src/stores/near-cache.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { call, liveRecord, untilServing } from "../support/near-caches.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";
import { type RedisCluster, type RedisSentinel, startCluster, startSentinel } from "../support/redis-topologies.ts";

const tuned = {
  commandTimeout: 1_000,
  socketTimeout: 5_000,
  maxRetriesPerRequest: 1,
  autoResendUnfulfilledCommands: false,
};

const textOf = (record: StoreRecord | undefined): string | undefined =>
  record?.kind === "live" ? Buffer.from(record.payload).toString() : record?.kind;

/** Writes over what stands there, as soon as somebody takes it. */
async function change(store: Store, key: string, text: string): Promise<void> {
  await until(async () => {
    try {
      const known = await store.read(key, { ...call(), fresh: true });
      const expected = known?.kind === "live" ? known.version : "absent";
      return (await store.write(key, liveRecord(store, text), expected, call())).ok;
    } catch {
      return false;
    }
  }, `a master to take "${text}"`);
}

/** What `near` answers follows what `other` writes, from now on. */
async function expectInStep(near: Store, other: Store, key: string, text: string): Promise<void> {
  await until(
    () =>
      untilServing(near, key).then(
        () => true,
        () => false,
      ),
    "the cache to serve",
  );
  await change(other, key, text);
  await until(async () => textOf(await near.read(key, call())) === text, "the cache to follow");
  // Read again each time: an answer of before the connections were trusted is not kept.
  await until(
    async () => textOf(await near.read(key, call())) === text && textOf(near.peek?.(key)) === text,
    "the cache to serve what was written",
  );
}

describe("behind Sentinel", () => {
  let sentinel: RedisSentinel;
  beforeAll(async () => {
    sentinel = await startSentinel();
  });
  afterAll(() => sentinel.stop());

  it("a failover empties the cache, and it follows the new master", async () => {
    const { sentinels, name } = sentinel;
    const options = { sentinels, name, failoverDetector: true, retryStrategy: () => 50, ...tuned };
    const clients = [new Redis(options), new Redis(options)] as const;
    for (const client of clients) client.on("error", () => {});
    const near = nearCache(redisStore(clients[0]));
    const other = redisStore(clients[1]);
    await expectInStep(near, other, "before", "one");
    await sentinel.master.kill();
    await until(() => near.peek?.("before") === undefined, "the cache to be empty");
    await change(other, "before", "two");
    await until(async () => textOf(await near.read("before", call()).catch(() => undefined)) === "two", "an answer");
    await expectInStep(near, other, "before", "three");
    await near.close?.();
    for (const client of clients) client.disconnect();
  });
});

describe("in a Cluster", () => {
  let cluster: RedisCluster;
  let replica: RedisServer;
  beforeAll(async () => {
    cluster = await startCluster();
    const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port"];
    replica = await startRedis({ args: [...args, String(await freePort())] });
    const [first] = cluster.nodes;
    if (first === undefined) throw new Error("a node");
    const bus = /@(\d+)[^\n]*myself/.exec(await first.command("CLUSTER", "NODES"))?.[1] ?? "";
    await replica.command("CLUSTER", "MEET", "127.0.0.1", String(first.port), bus);
    await until(async () => (await replica.command("CLUSTER", "REPLICATE", await idOf(first))) === "+OK", "a replica");
    await until(
      async () => (await replica.command("INFO", "replication")).includes("master_link_status:up"),
      "the replica to follow",
    );
  });
  afterAll(async () => {
    await replica?.stop();
    await cluster?.stop();
  });

  const idOf = async (node: RedisServer): Promise<string> =>
    (await node.command("CLUSTER", "MYID")).split("\r\n").pop() ?? "";

  /** A key whose slot belongs to the first node. */
  function keyOnFirst(name: string): string {
    for (let index = 0; ; index++) {
      const key = `${name}-${index}`;
      if (slotOf(`holdfast:${key}`) < 16_384 / 3 - 1) return key;
    }
  }

  it("a slot that moves away takes its copies with it, and they come back from its new master", async () => {
    const [first, second] = cluster.nodes;
    if (first === undefined || second === undefined) throw new Error("two nodes");
    const clients = [
      new Cluster(cluster.startupNodes, { redisOptions: tuned }),
      new Cluster5(cluster.startupNodes, { redisOptions: tuned }),
    ] as const;
    const near = nearCache(redisStore(clients[0]));
    const other = redisStore(clients[1]);
    const key = keyOnFirst("moving");
    await expectInStep(near, other, key, "one");
    const slot = String(slotOf(`holdfast:${key}`));
    const [from, to] = [await idOf(first), await idOf(second)];
    expect(await second.command("CLUSTER", "SETSLOT", slot, "IMPORTING", from)).toBe("+OK");
    expect(await first.command("CLUSTER", "SETSLOT", slot, "MIGRATING", to)).toBe("+OK");
    const port = String(second.port);
    expect(await first.command("MIGRATE", "127.0.0.1", port, `holdfast:${key}`, "0", "5000")).toBe("+OK");
    await until(() => near.peek?.(key) === undefined, "the cache to hear that the key went");
    // Half moved: every answer comes over ASK, and none is kept.
    expect(textOf(await near.read(key, call()))).toBe("one");
    expect(near.peek?.(key)).toBeUndefined();
    await change(other, key, "two");
    expect(textOf(await near.read(key, call()))).toBe("two");
    for (const node of [second, first, ...cluster.nodes.slice(2)]) {
      expect(await node.command("CLUSTER", "SETSLOT", slot, "NODE", to)).toBe("+OK");
    }
    await expectInStep(near, other, key, "three");
    await near.close?.();
    for (const client of clients) client.disconnect();
  });

  it("a failover ends the copies of the old master, which goes on answering as a replica", async () => {
    const [first] = cluster.nodes;
    if (first === undefined) throw new Error("a node");
    const clients = [
      new Cluster(cluster.startupNodes, { redisOptions: tuned }),
      new Cluster(cluster.startupNodes, { redisOptions: tuned }),
    ] as const;
    const near = nearCache(redisStore(clients[0]));
    const other = redisStore(clients[1]);
    const key = keyOnFirst("staying");
    await expectInStep(near, other, key, "one");
    expect(await replica.command("CLUSTER", "FAILOVER")).toBe("+OK");
    await until(async () => (await replica.command("INFO", "replication")).includes("role:master"), "the failover");
    await change(other, key, "two");
    await until(() => textOf(near.peek?.(key)) !== "one", "the old copy to go");
    await until(async () => textOf(await near.read(key, call())) === "two", "the new master's answer");
    await expectInStep(near, other, key, "three");
    await near.close?.();
    for (const client of clients) client.disconnect();
  });
});
