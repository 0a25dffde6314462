/** Durable writes of the Redis store: who is asked to confirm, what happens when they don't, and on which connection. */
import keySlot from "cluster-key-slot";
import { Cluster, Redis } from "ioredis";
import { Cluster as Cluster5, Redis as Redis5 } from "ioredis5";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { NewRecord, Store, StoreCall } from "../../src/store.ts";
import { type DurabilityOptions, type RedisLike, redisStore } from "../../src/stores/redis.ts";
import { accepted, textOf } from "../../src/testing/contract-kit.ts";
import { runStoreContract } from "../contract/store.ts";
import { type Replicated, startReplicated, startReplicatedCluster } from "../support/redis-replicas.ts";
import type { RedisServer } from "../support/redis-server.ts";
import { type RedisCluster, type RedisSentinel, startSentinel } from "../support/redis-topologies.ts";
import { startProxy, type TcpProxy } from "../support/tcp-proxy.ts";

const key = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";
const hour = 3_600_000;
const tuned = {
  commandTimeout: 2_000,
  socketTimeout: 5_000,
  maxRetriesPerRequest: 1,
  autoResendUnfulfilledCommands: false,
};

let single: Replicated;
let cluster: RedisCluster & { replicas: readonly RedisServer[] };
let sentinel: RedisSentinel;
let prefixes = 0;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  [single, cluster, sentinel] = await Promise.all([startReplicated(1), startReplicatedCluster(2), startSentinel()]);
});

afterAll(async () => {
  await Promise.all([single.stop(), cluster.stop(), sentinel.stop()]);
});

afterEach(async () => {
  single.stall(false);
  for (const end of ends.splice(0).reverse()) await end();
});

function open(url: string, durability: DurabilityOptions): Store {
  prefixes += 1;
  const store = redisStore(url, { prefix: `t${prefixes}:`, durability });
  ends.push(() => store.close?.());
  return store;
}

function record(store: Store, text: string): NewRecord {
  const now = store.now();
  const times = { createdAt: now, touchedAt: now, expiresAt: now + hour, absoluteExpiresAt: null };
  return { kind: "live", ...times, payload: Buffer.from(text) };
}

function call(durable = true, withinMs = 5_000): StoreCall {
  return { deadline: performance.now() + withinMs, durable };
}

const clients: Record<string, () => RedisLike> = {
  "ioredis 5 with a keyPrefix and auto-pipelining": () =>
    new Redis5(single.master.port, { ...tuned, keyPrefix: "app:", enableAutoPipelining: true }),
  "ioredis 6 with lazyConnect and RESP2": () =>
    new Redis(single.master.port, { ...tuned, lazyConnect: true, protocol: 2, stringNumbers: true }),
  "an ioredis 5 Cluster with a keyPrefix": () =>
    new Cluster5(cluster.startupNodes, { keyPrefix: "app:", redisOptions: tuned }),
  "ioredis 6 behind Sentinel": () =>
    new Redis({ sentinels: sentinel.sentinels, name: sentinel.name, failoverDetector: true, ...tuned }),
};

for (const [what, connect] of Object.entries(clients)) {
  describe(`${what}, all writes durable`, () => {
    let client: RedisLike;
    beforeEach(() => {
      client ??= connect();
    });
    afterAll(() => {
      client.disconnect();
    });
    runStoreContract("redisStore", async (clock) => {
      prefixes += 1;
      const durability = { replicas: 1, timeout: 2_000, for: "all" } as const;
      const store = redisStore(client, { prefix: `t${prefixes}:`, clock: () => clock.now(), durability });
      return { store, end: async () => store.close?.() };
    });
  });
}

describe("a write that replicas confirm", () => {
  test("resolves when they have it, and not before", async () => {
    const store = open(single.master.url, { timeout: 30_000 });
    single.stall(true);
    let isDone = false;
    const writing = store.write(key, record(store, "one"), "absent", call(true, 30_000)).finally(() => {
      isDone = true;
    });
    // The master has it long since.
    await expect.poll(async () => textOf(await store.read(key, call()))).toBe("one");
    expect(isDone).toBe(false);
    single.stall(false);
    accepted(await writing);
    expect(await single.replicas[0]?.command("EXISTS", `t${prefixes}:${key}`)).toBe(":1");
  });

  test("that they don't confirm in time is a 503 which says so, and which stands on the master", async () => {
    const store = open(single.master.url, { timeout: 50 });
    single.stall(true);
    const failure = await store.write(key, record(store, "one"), "absent", call()).catch((error: unknown) => error);
    expect(failure).toMatchObject({ name: "SessionError", code: "ERR_SESSION_UNCONFIRMED", status: 503 });
    expect(String(failure)).toContain("0 of the 1 replicas");
    expect(textOf(await store.read(key, call()))).toBe("one");
  });

  test("is reported instead where onShortfall says so: to its caller, and once to the process", async () => {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    const store = open(single.master.url, { timeout: 20, onShortfall: "report" });
    single.stall(true);
    const report = vi.fn<(error: Error) => void>();
    const version = accepted(await store.write(key, record(store, "one"), "absent", { ...call(), report }));
    accepted(await store.write(key, record(store, "two"), version, { ...call(), report }));
    expect(report.mock.calls.map(([error]) => error)).toMatchObject([
      { code: "ERR_SESSION_UNCONFIRMED" },
      { code: "ERR_SESSION_UNCONFIRMED" },
    ]);
    expect(warn.mock.calls.map(([, options]) => options)).toMatchObject([{ code: "HOLDFAST_UNCONFIRMED" }]);
  });

  test('is one of those that the engine marks; with for: "all" it is any, touches and ends too', async () => {
    const security = open(single.master.url, { timeout: 30 });
    single.stall(true);
    const version = accepted(await security.write(key, record(security, "one"), "absent", call(false)));
    const stamp = { version, touchedAt: security.now(), expiresAt: security.now() + 2 * hour };
    expect(await security.touch(key, stamp, call(false))).toBe("touched");
    const end = { reason: "logout", until: security.now() + hour } as const;
    await expect(security.remove(key, end, call(true))).rejects.toMatchObject({ code: "ERR_SESSION_UNCONFIRMED" });

    const all = open(single.master.url, { timeout: 30, for: "all" });
    const plain = redisStore(single.master.url, { prefix: `t${prefixes}:` });
    ends.push(() => plain.close?.());
    const other = accepted(await plain.write(key, record(plain, "one"), "absent", call(false)));
    await expect(all.write(key, record(all, "two"), other, call(false))).rejects.toMatchObject({ status: 503 });
    const current = await plain.read(key, call(false));
    const now = current?.kind === "live" ? current.version : "";
    await expect(all.touch(key, { ...stamp, touchedAt: all.now(), version: now }, call(false))).rejects.toMatchObject({
      status: 503,
    });
    await expect(all.remove(key, end, call(false))).rejects.toMatchObject({ status: 503 });
  });

  test("needs as many replicas as were asked for", async () => {
    const store = open(single.master.url, { replicas: 2, timeout: 1_500 });
    await expect(store.write(key, record(store, "one"), "absent", call())).rejects.toThrow("1 of the 2 replicas");
  });
});

describe("a repeat after a lost answer", () => {
  async function openThroughProxy(): Promise<{ store: Store; proxy: TcpProxy; at: string }> {
    const proxy = await startProxy(single.master.port);
    ends.push(() => proxy.stop());
    const store = open(`redis://127.0.0.1:${proxy.port}`, { timeout: 100, for: "all" });
    await store.read(key, call());
    return { store, proxy, at: `t${prefixes}:${key}` };
  }

  test("is not confirmed by a WAIT that knows nothing of the write: it writes again, and the replica must have that", async () => {
    const { store, proxy, at } = await openThroughProxy();
    // Its connection has not written anything yet.
    single.stall(true);
    proxy.loseAnswerTo("evalsha");
    await expect(store.write(key, record(store, "one"), "absent", call())).rejects.toMatchObject({
      code: "ERR_SESSION_UNCONFIRMED",
    });
    expect(proxy.lost).toBe(1);
    expect(await single.replicas[0]?.command("EXISTS", at)).toBe(":0");
    single.stall(false);
    await single.inStep();
    const end = { reason: "logout", until: store.now() + hour } as const;
    single.stall(true);
    proxy.loseAnswerTo("evalsha");
    await expect(store.remove(key, end, call())).rejects.toMatchObject({ code: "ERR_SESSION_UNCONFIRMED" });
    expect(proxy.lost).toBe(2);
    single.stall(false);
    // The tombstone stands since: ending it again confirms it.
    expect(await store.remove(key, end, call())).toMatchObject({ kind: "ended", reason: "logout" });
  });

  test("is recognised and confirmed where the replica follows", async () => {
    const { store, proxy, at } = await openThroughProxy();
    proxy.loseAnswerTo("evalsha");
    const version = accepted(await store.write(key, record(store, "one"), "absent", call()));
    expect(proxy.lost).toBe(1);
    expect(await single.replicas[0]?.command("GETRANGE", at, "9", "32")).toContain(`${version}AAAAAAAAAAAAAAAA`);
  });

  test("by the caller is refused by its own first try, and that is confirmed as well", async () => {
    const { store } = await openThroughProxy();
    single.stall(true);
    await expect(store.write(key, record(store, "one"), "absent", call())).rejects.toMatchObject({ status: 503 });
    // A refusal whose record may vanish must not pass for "it is there already".
    await expect(store.write(key, record(store, "one"), "absent", call())).rejects.toMatchObject({
      code: "ERR_SESSION_UNCONFIRMED",
    });
    single.stall(false);
    const again = await store.write(key, record(store, "one"), "absent", call());
    expect(again.ok ? "" : textOf(again.current)).toBe("one");
  });
});

describe("the connection for durable writes", () => {
  test("is one of its own; parallel writes share a WAIT, and reads go on beside it", async () => {
    const monitor = await single.master.monitor();
    const store = open(single.master.url, { timeout: 2_000 });
    await store.read(key, call());
    const names = Array.from({ length: 50 }, (_, index) => `${key}${index}`);
    await Promise.all(names.map((name) => store.write(name, record(store, name), "absent", call())));
    await store.read(key, call());
    await monitor.stop();
    const byClient = new Map<string, string[]>();
    for (const line of monitor.lines) {
      const [, client = "", command = ""] = /^\S+ \[\d+ (\S+)\] "(\w+)"/.exec(line) ?? [];
      byClient.set(client, [...(byClient.get(client) ?? []), command.toLowerCase()]);
    }
    const waiting = [...byClient.values()].filter((commands) => commands.includes("wait"));
    expect(waiting).toHaveLength(1);
    const [commands = []] = waiting;
    expect(commands).not.toContain("get");
    expect(commands.filter((name) => name === "evalsha").length).toBeGreaterThanOrEqual(50);
    // The first group may be small, and one more gives Redis the script's source.
    expect(commands.filter((name) => name === "wait").length).toBeLessThanOrEqual(5);
  });

  test("is the only one that waits: others' reads and writes are answered meanwhile", async () => {
    const store = open(single.master.url, { timeout: 30_000 });
    const version = accepted(await store.write(key, record(store, "one"), "absent", call()));
    const quiet = await timesOf(100, () => store.read(key, call()));
    single.stall(true);
    let isDone = false;
    const waiting = store.write(`${key}2`, record(store, "two"), "absent", call(true, 30_000)).finally(() => {
      isDone = true;
    });
    const beside = await timesOf(100, () => store.read(key, call()));
    accepted(await store.write(key, record(store, "three"), version, call(false)));
    expect(isDone).toBe(false);
    single.stall(false);
    accepted(await waiting);
    single.stall(true);
    // For comparison: the same WAIT on the connection that reads.
    const shared = new Redis(single.master.port);
    ends.push(() => shared.disconnect());
    await shared.set("shared", "1");
    const blocking = shared.wait(1, 300);
    const behind = await timesOf(1, () => shared.get("shared"));
    await blocking;
    console.info(
      `median of 100 reads: ${quiet.toFixed(2)} ms, while a durable write waits ${beside.toFixed(2)} ms; ` +
        `one read behind a WAIT of 300 ms on the same connection: ${behind.toFixed(0)} ms`,
    );
  });

  test("comes back when it was lost", async () => {
    const proxy = await startProxy(single.master.port);
    ends.push(() => proxy.stop());
    const store = open(`redis://127.0.0.1:${proxy.port}`, { timeout: 4_000 });
    const version = accepted(await store.write(key, record(store, "one"), "absent", call()));
    proxy.cut();
    accepted(await store.write(key, record(store, "two"), version, call()));
  });

  test("is closed with the store, the client that was handed in is not", async () => {
    const client = new Redis(single.master.port, tuned);
    ends.push(() => client.disconnect());
    await client.ping();
    const before = await connections(single.master);
    const store = redisStore(client, { durability: {} });
    await store.write(key, record(store, "one"), "absent", call());
    expect(await connections(single.master)).toBeGreaterThan(before);
    await store.close?.();
    await expect.poll(() => connections(single.master)).toBe(before);
    expect(await client.ping()).toBe("PONG");
  });

  test("in a Cluster is one to each master that was written to", async () => {
    const client = new Cluster(cluster.startupNodes, { redisOptions: tuned });
    ends.push(() => client.disconnect());
    const monitors = await Promise.all(cluster.nodes.map((node) => node.monitor()));
    const store = redisStore(client, { durability: { timeout: 2_000 } });
    const names = Array.from({ length: 60 }, (_, index) => `${key}${index}`);
    await Promise.all(names.map((name) => store.write(name, record(store, name), "absent", call())));
    await Promise.all(monitors.map((monitor) => monitor.stop()));
    for (const { lines } of monitors) {
      const waits = lines.filter((line) => /"wait"/i.test(line));
      expect(waits.length).toBeGreaterThanOrEqual(1);
      expect(waits.length).toBeLessThanOrEqual(5);
    }
    await store.close?.();
    expect(client.status).toBe("ready");
  });
});

describe("in a Cluster whose slots move", () => {
  /** A slot of the first node's that is on its way to the second, and a key in it that is not there yet. */
  async function startMoving(prefix: string): Promise<{ name: string; to: RedisServer; end(): Promise<void> }> {
    const [from, to] = cluster.nodes;
    if (from === undefined || to === undefined) throw new Error("no nodes");
    const names = Array.from({ length: 100 }, (_, index) => `${key}${index}`);
    const name = names.find((each) => keySlot(prefix + each) < 8_000);
    if (name === undefined) throw new Error("no key");
    const slot = String(keySlot(prefix + name));
    const [fromId, toId] = await Promise.all(
      [from, to].map(async (node) => (await node.command("CLUSTER", "MYID")).split("\r\n")[1] ?? ""),
    );
    await to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId ?? "");
    await from.command("CLUSTER", "SETSLOT", slot, "MIGRATING", toId ?? "");
    expect(await from.command("EXISTS", prefix + name)).toMatch(/^-ASK/);
    const end = async (): Promise<void> => {
      for (const node of [to, from]) await node.command("CLUSTER", "SETSLOT", slot, "NODE", toId ?? "");
    };
    return { name, to, end };
  }

  test("a durable write follows ASK and MOVED, and is confirmed where it went", async () => {
    const client = new Cluster(cluster.startupNodes, { redisOptions: tuned });
    ends.push(() => client.disconnect());
    const store = redisStore(client, { prefix: "moving:", durability: { timeout: 3_000, for: "all" } });
    ends.push(() => store.close?.());
    await store.read(key, call());
    const { name, to, end } = await startMoving("moving:");
    const version = accepted(await store.write(name, record(store, "asked"), "absent", call()));
    await end();
    accepted(await store.write(name, record(store, "moved"), version, call()));
    expect(await to.command("GETRANGE", `moving:${name}`, "69", "-1")).toContain("moved");
  });

  test("a node that hangs as it is asked fails the call, and not the process", async () => {
    const unhandled = vi.fn<(reason: unknown) => void>();
    process.on("unhandledRejection", unhandled);
    ends.push(() => process.off("unhandledRejection", unhandled));
    const nodes = cluster.startupNodes.map(({ host, port }) => `${host}:${port}`).join(",");
    const store = redisStore(`redis+cluster://${nodes}`, { prefix: "asked:", commandTimeout: 100 });
    ends.push(() => store.close?.());
    // Every node is connected to: it hangs with the question on its way.
    for (let index = 0; index < 20; index++) await store.read(`${key}${index}`, call());
    const { name, to, end } = await startMoving("asked:");
    to.pause();
    try {
      await expect(store.read(name, call(false, 400))).rejects.toThrow("Command timed out");
      // A rejection that nobody handles is told of within a turn.
      await new Promise((resolve) => setImmediate(resolve));
      expect(unhandled).not.toHaveBeenCalled();
    } finally {
      to.resume();
      await end();
    }
  });
});

/** The median of how long `count` runs took, one after the other, in ms. */
async function timesOf(count: number, run: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[Math.floor(count / 2)] ?? 0;
}

/** How many clients a server has, replicas and the one that asks included. */
async function connections(server: RedisServer): Promise<number> {
  const info = await server.command("INFO", "clients");
  return Number(/connected_clients:(\d+)/.exec(info)?.[1]);
}

describe("a durability that is wrong", () => {
  test.each([
    [true, /received true; write an object/],
    [{ replicas: 0 }, /durability.replicas: received 0; write a whole number from 1/],
    [{ timeout: "1s" }, /durability.timeout: received 1s; write whole ms from 1/],
    [{ for: "some" }, /durability.for: received some; write "security" or "all"/],
    [{ onShortfall: "ignore" }, /durability.onShortfall: received ignore; write "fail" or "report"/],
    [{ replica: 1 }, /durability.replica: received an unknown option; there are replicas, timeout, for, onShortfall/],
  ])("is refused at start-up: %j", (durability, message) => {
    // What a user of JavaScript may write.
    const options = { durability } as object as { durability: DurabilityOptions };
    expect(() => redisStore(single.master.url, options)).toThrow(message);
  });
});
