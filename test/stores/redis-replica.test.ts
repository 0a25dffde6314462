/** Reads from replicas: how old they may be, what is never read there, and who answers when a replica can't. */
import { Cluster, Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createSessions, type NewRecord, type Store, type StoreCall, type StoreRecord } from "../../src/index.ts";
import { type RedisLike, type RedisStoreOptions, redisStore } from "../../src/stores/redis.ts";
import { accepted, textOf } from "../../src/testing/contract-kit.ts";
import { runStoreContract } from "../contract/store.ts";
import { Client } from "../support/exchange.ts";
import { expectTook } from "../support/in-time.ts";
import { type Replicated, startReplicated, startReplicatedCluster } from "../support/redis-replicas.ts";
import type { Monitor, RedisServer } from "../support/redis-server.ts";
import { type RedisCluster, type RedisSentinel, startSentinel } from "../support/redis-topologies.ts";

const key = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";
const hour = 3_600_000;
const maxStaleness = 400;
const tuned = {
  commandTimeout: 2_000,
  socketTimeout: 5_000,
  maxRetriesPerRequest: 1,
  autoResendUnfulfilledCommands: false,
};

let redis: Replicated;
let replica: RedisServer;
let cluster: RedisCluster & { replicas: readonly RedisServer[] };
let sentinel: RedisSentinel;
let prefixes = 0;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  [redis, cluster, sentinel] = await Promise.all([startReplicated(1), startReplicatedCluster(2), startSentinel()]);
  const [first] = redis.replicas;
  if (first === undefined) throw new Error("no replica");
  replica = first;
});

afterAll(async () => {
  await Promise.all([redis.stop(), cluster.stop(), sentinel.stop()]);
});

beforeEach(() => {
  prefixes += 1;
});

afterEach(async () => {
  redis.stall(false);
  for (const end of ends.splice(0).reverse()) await end();
});

/** A node that reads from the replica. */
function node(options: RedisStoreOptions = {}): Store {
  const reads = { readFrom: "replica", replica: replica.url, maxStaleness } as const;
  const store = redisStore(redis.master.url, { prefix: `t${prefixes}:`, ...reads, ...options });
  ends.push(() => store.close?.());
  return store;
}

/** A node that doesn't. */
function otherNode(): Store {
  const store = redisStore(redis.master.url, { prefix: `t${prefixes}:` });
  ends.push(() => store.close?.());
  return store;
}

function call(mayBeStale = true): StoreCall {
  return { deadline: performance.now() + 5_000, durable: false, mayBeStale };
}

function record(store: Store, text: string): NewRecord {
  const now = store.now();
  const times = { createdAt: now, touchedAt: now, expiresAt: now + hour, absoluteExpiresAt: null };
  return { kind: "live", ...times, payload: Buffer.from(text) };
}

function gets(monitor: Monitor): number {
  return monitor.lines.filter((line) => /"get"/i.test(line)).length;
}

/** Reads until the replica has answered, so that it is known to be in step. */
async function untilRead(store: Store, from: RedisServer): Promise<void> {
  const monitor = await from.monitor();
  await expect
    .poll(async () => {
      await store.read(key, call());
      await monitor.flush();
      return gets(monitor);
    })
    .toBeGreaterThan(0);
  await monitor.stop();
}

const kinds: Record<string, () => { client: RedisLike; options: RedisStoreOptions; end(): void }> = {
  "a single Redis and its replica": () => {
    const client = new Redis(redis.master.port, { ...tuned, keyPrefix: "app:" });
    const reader = new Redis(replica.port, { ...tuned, keyPrefix: "app:" });
    const end = (): void => {
      for (const each of [client, reader]) each.disconnect();
    };
    return { client, options: { replica: reader }, end };
  },
  "a Cluster": () => {
    const client = new Cluster(cluster.startupNodes, { keyPrefix: "app:", redisOptions: tuned });
    return { client, options: {}, end: () => client.disconnect() };
  },
  Sentinel: () => {
    const client = new Redis({ sentinels: sentinel.sentinels, name: sentinel.name, failoverDetector: true, ...tuned });
    return { client, options: {}, end: () => client.disconnect() };
  },
};

for (const [what, open] of Object.entries(kinds)) {
  describe(`${what}, read wherever that may be`, () => {
    let opened: ReturnType<typeof open> | undefined;
    afterAll(() => {
      opened?.end();
    });
    runStoreContract("redisStore", async (clock) => {
      opened ??= open();
      prefixes += 1;
      const settings = {
        prefix: `t${prefixes}:`,
        clock: () => clock.now(),
        readFrom: "replica",
        maxStaleness,
      } as const;
      const inner = redisStore(opened.client, { ...settings, ...opened.options });
      const store: Store = {
        now: () => inner.now(),
        read: (name, given) => inner.read(name, { ...given, mayBeStale: true }),
        write: (...args) => inner.write(...args),
        touch: (...args) => inner.touch(...args),
        remove: (...args) => inner.remove(...args),
      };
      return { store, end: async () => inner.close?.() };
    });
  });
}

describe("a read that may be stale", () => {
  test("is answered by the replica, any other by the master", async () => {
    accepted(await otherNode().write(key, record(otherNode(), "one"), "absent", call()));
    const store = node();
    await untilRead(store, replica);
    const [near, far] = [await replica.monitor(), await redis.master.monitor()];
    for (let index = 0; index < 10; index++) expect(textOf(await store.read(key, call()))).toBe("one");
    expect(textOf(await store.read(key, call(false)))).toBe("one");
    await Promise.all([near.stop(), far.stop()]);
    // One or the other of the ten may meet the moment when its freshness runs out.
    expect(gets(near)).toBeGreaterThanOrEqual(5);
    expect(gets(near) + gets(far)).toBe(11);
    expect(gets(far)).toBeGreaterThanOrEqual(1);
  });

  test("behind Sentinel is answered by a replica of its master", async () => {
    const client = new Redis({ sentinels: sentinel.sentinels, name: sentinel.name, failoverDetector: true, ...tuned });
    ends.push(() => client.disconnect());
    const store = redisStore(client, { prefix: `t${prefixes}:`, readFrom: "replica", maxStaleness });
    ends.push(() => store.close?.());
    const plain = redisStore(client, { prefix: `t${prefixes}:` });
    ends.push(() => plain.close?.());
    accepted(await plain.write(key, record(plain, "one"), "absent", call()));
    await untilRead(store, sentinel.replica);
  });

  test("in a Cluster is answered by the replica of the key's own master", async () => {
    const client = new Cluster(cluster.startupNodes, { redisOptions: tuned });
    ends.push(() => client.disconnect());
    const store = redisStore(client, { prefix: `t${prefixes}:`, readFrom: "replica", maxStaleness: 5_000 });
    ends.push(() => store.close?.());
    const plain = redisStore(client, { prefix: `t${prefixes}:` });
    ends.push(() => plain.close?.());
    const names = Array.from({ length: 20 }, (_, index) => `${key}${index}`);
    for (const name of names) accepted(await plain.write(name, record(plain, name), "absent", call()));
    const monitors = await Promise.all(cluster.replicas.map((each) => each.monitor()));
    await expect
      .poll(async () => {
        for (const name of names) expect(textOf(await store.read(name, call()))).toBe(name);
        for (const monitor of monitors) await monitor.flush();
        return Math.min(...monitors.map(gets));
      })
      .toBeGreaterThan(0);
    for (const monitor of monitors) await monitor.stop();
  });

  test("never misses what this node wrote, however far the replica is behind", async () => {
    const store = node();
    let version = accepted(await store.write(key, record(store, "0"), "absent", call()));
    await untilRead(store, replica);
    redis.stall(true);
    for (let count = 1; count <= 20; count++) {
      version = accepted(await store.write(key, record(store, String(count)), version, call()));
      expect(textOf(await store.read(key, call()))).toBe(String(count));
    }
    await store.remove(key, { reason: "logout", until: store.now() + hour }, call());
    expect(await store.read(key, call())).toMatchObject({ kind: "ended", reason: "logout" });
  });

  test("is at most maxStaleness old: what others did shows by then, a logout too", async () => {
    const other = otherNode();
    const version = accepted(await other.write(key, record(other, "old"), "absent", call()));
    const store = node();
    await untilRead(store, replica);
    redis.stall(true);
    accepted(await other.write(key, record(other, "new"), version, call()));
    let writtenAt = performance.now();
    expect(await readsUntil(store, writtenAt, (found) => textOf(found) === "new")).toEqual([]);
    redis.stall(false);
    await redis.inStep();
    await untilRead(store, replica);
    redis.stall(true);
    await other.remove(key, { reason: "revoked", until: other.now() + hour }, call());
    writtenAt = performance.now();
    expect(await readsUntil(store, writtenAt, (found) => found?.kind === "ended")).toEqual([]);
  });

  test("does not show again what a refused write has shown to be over", async () => {
    const other = otherNode();
    const version = accepted(await other.write(key, record(other, "old"), "absent", call()));
    const store = node({ maxStaleness: 60_000 });
    await untilRead(store, replica);
    redis.stall(true);
    await other.remove(key, { reason: "logout", until: other.now() + hour }, call());
    // The replica still has it, and may say so.
    expect(textOf(await store.read(key, call()))).toBe("old");
    expect((await store.write(key, record(store, "late"), version, call())).ok).toBe(false);
    for (let index = 0; index < 20; index++) expect(await store.read(key, call())).toMatchObject({ kind: "ended" });
  });

  test("costs a refused write where it was stale, and no data", async () => {
    const secret = "a secret for tests, of more than 32 characters";
    const near = createSessions({ secret, store: node({ maxStaleness: 60_000 }) });
    const far = createSessions({ secret, store: otherNode() });
    ends.push(
      () => near.close(),
      () => far.close(),
    );
    const writer = new Client(far);
    await writer.request((session) => {
      session["first"] = 1;
    });
    const reader = new Client(near, writer.cookie);
    const monitor = await replica.monitor();
    await expect
      .poll(async () => {
        await reader.request(() => {});
        await monitor.flush();
        return gets(monitor);
      })
      .toBeGreaterThan(0);
    await monitor.stop();
    redis.stall(true);
    await writer.request((session) => {
      session["second"] = 2;
    });
    await reader.request((session) => {
      expect(session["second"]).toBeUndefined();
      session["third"] = 3;
    });
    await reader.request((session) => {
      expect({ ...session }).toEqual({ first: 1, second: 2, third: 3 });
    });
  });
});

/** Reads until `isNew`; the ages in ms of answers that were still old, where the read began after the bound. */
async function readsUntil(
  store: Store,
  writtenAt: number,
  isNew: (record: StoreRecord | undefined) => boolean,
): Promise<number[]> {
  const tooOld: number[] = [];
  for (;;) {
    const age = performance.now() - writtenAt;
    if (isNew(await store.read(key, call()))) return tooOld;
    if (age > maxStaleness) tooOld.push(age);
    if (tooOld.length > 100) return tooOld;
  }
}

describe("a replica that can't answer", () => {
  test("because it is gone is passed over, and used again when it is back", async () => {
    const other = otherNode();
    accepted(await other.write(key, record(other, "one"), "absent", call()));
    const store = node();
    await untilRead(store, replica);
    await replica.kill();
    for (let index = 0; index < 20; index++) expect(textOf(await store.read(key, call()))).toBe("one");
    await replica.restart();
    await untilRead(store, replica);
  });

  test("because it hangs delays one read a little, and the next ones not at all", async () => {
    const other = otherNode();
    accepted(await other.write(key, record(other, "one"), "absent", call()));
    const store = node();
    await untilRead(store, replica);
    replica.pause();
    try {
      const first = performance.now();
      expect(textOf(await store.read(key, call()))).toBe("one");
      expectTook(performance.now() - first, 1_000, "a read that its replica does not answer");
      const far = await redis.master.monitor();
      for (let index = 0; index < 10; index++) expect(textOf(await store.read(key, call()))).toBe("one");
      await far.stop();
      expect(gets(far)).toBe(10);
    } finally {
      replica.resume();
    }
  });

  test("because it follows somebody else, or nobody, is not asked", async () => {
    const other = otherNode();
    accepted(await other.write(key, record(other, "one"), "absent", call()));
    const stray = await startReplicated(1);
    ends.push(() => stray.stop());
    const store = node({ replica: stray.replicas[0]?.url ?? "" });
    const near = await stray.replicas[0]?.monitor();
    for (let index = 0; index < 50; index++) expect(textOf(await store.read(key, call()))).toBe("one");
    await near?.stop();
    expect(near && gets(near)).toBe(0);
  });
});

describe("options of reads that are wrong", () => {
  test.each([
    [{ readFrom: "slave" }, /readFrom: received slave; write "master" or "replica"/],
    [{ readFrom: "replica" }, /replica: received undefined; a single Redis needs it/],
    [{ readFrom: "replica", replica: 6379 }, /replica: received 6379; write an ioredis client or a URL/],
    [{ readFrom: "replica", replica: "redis://127.0.0.1:1", maxStaleness: 0 }, /maxStaleness: received 0/],
    [{ maxStaleness: 100 }, /maxStaleness: received 100; it is for readFrom: "replica"/],
  ])("are refused at start-up: %j", (options, message) => {
    // What a user of JavaScript may write.
    expect(() => redisStore(redis.master.url, options as object as RedisStoreOptions)).toThrow(message);
  });

  test("are refused where Sentinel or a Cluster knows its replicas", () => {
    const client = new Cluster(cluster.startupNodes, { lazyConnect: true, redisOptions: tuned });
    expect(() => redisStore(client, { readFrom: "replica", replica: replica.url })).toThrow(/leave it out/);
    client.disconnect();
  });
});
