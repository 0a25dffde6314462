/** The Redis store keeps the store contract with node-redis clients too, and comes through the same faults. */
import { createClient, createCluster, createSentinel } from "redis";
import {
  createClient as createClient5,
  createCluster as createCluster5,
  createSentinel as createSentinel5,
} from "redis5";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { createSessions, type Sessions } from "../../src/index.ts";
import { type NodeRedisLike, redisStore } from "../../src/stores/redis.ts";
import { isUnsent } from "../../src/stores/redis-failures.ts";
import { runStoreContract } from "../contract/store.ts";
import { until } from "../support/deferred.ts";
import { Client } from "../support/exchange.ts";
import { type RedisServer, rawCommand, startRedis } from "../support/redis-server.ts";
import { type RedisCluster, type RedisSentinel, startCluster, startSentinel } from "../support/redis-topologies.ts";
import { startProxy, type TcpProxy } from "../support/tcp-proxy.ts";

const secret = "a secret of the tests of node-redis, long enough";
const socket = { socketTimeout: 2_500, reconnectStrategy: (retries: number) => Math.min(50 * retries, 500) };
/** Each with a `socket` of its own: node-redis writes into those of `rootNodes`. */
const tuned = () => ({ socket: { ...socket }, disableOfflineQueue: true });

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

const rootNodes = () => cluster.startupNodes.map(({ host, port }) => ({ url: `redis://${host}:${port}` }));

const clients: Record<string, () => NodeRedisLike> = {
  "node-redis 6": () => createClient({ url: single.url, socket }),
  "node-redis 6 with RESP2": () => createClient({ url: single.url, socket, RESP: 2 }),
  "node-redis 6 with RESP3": () => createClient({ url: single.url, socket, RESP: 3 }),
  "node-redis 5": () => createClient5({ url: single.url, ...tuned() }),
  "a node-redis 6 Cluster": () => createCluster({ rootNodes: rootNodes(), defaults: tuned() }),
  "a node-redis 5 Cluster": () => createCluster5({ rootNodes: rootNodes(), defaults: tuned() }),
  "node-redis 6 behind Sentinel": () =>
    createSentinel({ name: sentinel.name, sentinelRootNodes: sentinel.sentinels, nodeClientOptions: tuned() }),
  "node-redis 5 behind Sentinel": () =>
    createSentinel5({ name: sentinel.name, sentinelRootNodes: sentinel.sentinels, nodeClientOptions: tuned() }),
};

type NodeRedisMaker = () => NodeRedisLike;

/** Ends every connection that hears what is published, of whichever server the client is of. */
async function cutSubscribers(what: string): Promise<void> {
  const nodes = what.includes("Cluster")
    ? cluster.startupNodes
    : [what.includes("Sentinel") ? sentinel.master : single];
  await Promise.all(nodes.map(({ port }) => rawCommand(port, ["CLIENT", "KILL", "TYPE", "pubsub"])));
}

for (const [what, make] of Object.entries(clients)) {
  describe(what, () => {
    let client: NodeRedisLike | undefined;
    beforeEach(() => {
      client ??= make();
    });
    afterAll(() => client?.destroy());
    runStoreContract("redisStore", async (clock) => {
      prefixes += 1;
      const store = redisStore(client as NodeRedisLike, { prefix: `t${prefixes}:`, clock: () => clock.now() }); // made above
      return { store, end: async () => store.close?.() };
    });
  });
}

it.each(Object.keys(clients))(
  "%s: an end on another node is heard, and looked up where the connection was cut meanwhile",
  async (what) => {
    prefixes += 1;
    const made = [clients[what]?.(), clients[what]?.()].flatMap((client) => client ?? []);
    const [here, there] = made.map((client) =>
      createSessions({ secret, store: redisStore(client, { prefix: `t${prefixes}:` }), storeTimeout: "10s" }),
    ) as [Sessions, Sessions]; // one each
    onTestFinished(async () => {
      await Promise.all([here.close(), there.close()]);
      for (const client of made) client.destroy();
    });
    const id = async (): Promise<string> => {
      let made = "";
      await new Client(here).request(async (session) => {
        await session.save();
        made = session.id;
      });
      return made;
    };
    const heard: string[] = [];
    there.on("destroyed", ({ id }) => void heard.push(id));
    await until(async () => {
      await here.destroy(await id());
      return heard.length > 0;
    }, "the node to hear");
    const told: string[] = [];
    const [first, second] = [await id(), await id()];
    for (const one of [first, second]) there.watch(one, (reason) => void told.push(`${one} ${reason}`));
    await here.destroy(first);
    await until(() => told.length > 0, "the first end");
    await until(() => heard.includes(first), "the event of it");
    await cutSubscribers(what);
    await here.destroy(second);
    await until(() => told.length > 1, "the second end");
    expect(told).toEqual([`${first} revoked`, `${second} revoked`]);
  },
);

const versions: readonly (readonly [string, (url: string) => NodeRedisLike])[] = [
  ["node-redis 6", (url) => createClient({ url, socket })],
  ["node-redis 5", (url) => createClient5({ url, socket })],
];

const noTimeout = "socket.socketTimeout is undefined, set 2500";
const noLimit = "disableOfflineQueue is undefined, set true: an outage fills the queue";
const untimed = { commandOptions: { timeout: 0 } };

/** A client with node-redis's defaults, what it lacks, and one that has it. */
const checked: readonly (readonly [string, NodeRedisMaker, readonly string[], NodeRedisMaker])[] = [
  [
    "node-redis 6",
    () => createClient({ url: single.url }),
    [noTimeout],
    () => createClient({ url: single.url, socket }),
  ],
  [
    "node-redis 6 without its command timeout",
    () => createClient({ url: single.url, ...untimed }),
    [noTimeout, noLimit],
    () => createClient({ url: single.url, ...untimed, ...tuned() }),
  ],
  [
    "node-redis 5",
    () => createClient5({ url: single.url }),
    [noTimeout, noLimit],
    () => createClient5({ url: single.url, socket, commandsQueueMaxLength: 1_000 }),
  ],
  [
    "a node-redis 6 Cluster",
    () => createCluster({ rootNodes: rootNodes().map((node) => ({ ...node, ...tuned() })) }),
    [`defaults.${noTimeout}`],
    () => createCluster({ rootNodes: rootNodes(), defaults: tuned() }),
  ],
  [
    "a node-redis 5 Cluster",
    () => createCluster5({ rootNodes: rootNodes() }),
    [`defaults.${noTimeout}`, `defaults.${noLimit}`],
    () => createCluster5({ rootNodes: rootNodes(), defaults: tuned() }),
  ],
  [
    "node-redis 6 behind Sentinel",
    () => createSentinel({ name: sentinel.name, sentinelRootNodes: sentinel.sentinels }),
    [`nodeClientOptions.${noTimeout}`],
    () => createSentinel({ name: sentinel.name, sentinelRootNodes: sentinel.sentinels, nodeClientOptions: tuned() }),
  ],
  [
    "node-redis 5 behind Sentinel",
    () => createSentinel5({ name: sentinel.name, sentinelRootNodes: sentinel.sentinels }),
    [`nodeClientOptions.${noTimeout}`, `nodeClientOptions.${noLimit}`],
    () => createSentinel5({ name: sentinel.name, sentinelRootNodes: sentinel.sentinels, nodeClientOptions: tuned() }),
  ],
];

it.each(checked)("what %s lacks for an outage is named, once a client", async (_, bare, lacks, able) => {
  const warnings: string[] = [];
  const listen = (warning: Error & { code?: string }): void => {
    if (warning.code === "HOLDFAST_REDIS_CLIENT") warnings.push(warning.message);
  };
  process.on("warning", listen);
  onTestFinished(() => void process.off("warning", listen));
  const [good, bad] = [able(), bare()];
  onTestFinished(async () => {
    for (const client of [good, bad]) await client.destroy();
  });
  for (const client of [good, bad, bad]) {
    const store = redisStore(client);
    await store.read("a".repeat(43), { deadline: performance.now() + 10_000, durable: false });
    await store.close?.();
  }
  await until(() => warnings.length > 0, "the warning");
  expect(warnings).toEqual([expect.stringContaining(`how an outage ends: ${lacks[0]}`)]);
  for (const lack of lacks) expect(warnings[0]).toContain(lack);
  expect(warnings[0]?.match(/, set /g)).toHaveLength(lacks.length);
});

interface Pinging {
  connect(): Promise<unknown>;
  destroy(): void;
  ping(): Promise<unknown>;
}

it.each<[string, (limits: { commandsQueueMaxLength?: number; disableOfflineQueue?: boolean }) => Pinging]>([
  ["node-redis 6", (limits) => createClient({ url: single.url, ...limits })],
  ["node-redis 5", (limits) => createClient5({ url: single.url, ...limits })],
])("a command that %s neither sends nor keeps has not been applied: its repeat is no second one", async (_, create) => {
  const [full, offline] = [create({ commandsQueueMaxLength: 10 }), create({ disableOfflineQueue: true })];
  onTestFinished(() => {
    for (const client of [full, offline]) client.destroy();
  });
  await full.connect();
  const answers = await Promise.allSettled(Array.from({ length: 11 }, () => full.ping()));
  expect(answers.at(-1)).toMatchObject({ status: "rejected", reason: expect.toSatisfy(isUnsent) });
  const connecting = offline.connect();
  await expect(offline.ping()).rejects.toSatisfy(isUnsent);
  await connecting;
});

it("reads from replicas, which a Cluster client does not name, are refused at start with what to do", () => {
  const make = (client: NodeRedisLike, replica?: string) => () =>
    redisStore(client, { readFrom: "replica", ...(replica && { replica }) });
  const [inCluster, behind] = [
    createCluster({ rootNodes: rootNodes() }),
    createSentinel({ name: sentinel.name, sentinelRootNodes: sentinel.sentinels }),
  ];
  const refusal = (cure: string) =>
    expect.objectContaining({ code: "ERR_SESSION_OPTION", message: expect.stringContaining(cure) });
  expect(make(inCluster)).toThrow(refusal("hand in an ioredis Cluster"));
  expect(make(inCluster, single.url)).toThrow(refusal("hand in an ioredis Cluster"));
  expect(make(behind)).toThrow(refusal("hand in an ioredis client with Sentinels"));
});

it("durability, which needs connections of its own, is refused at start with what to do", () => {
  const make = () => redisStore(createClient({ url: single.url, socket }), { durability: { replicas: 1 } });
  expect(make).toThrow(
    expect.objectContaining({ code: "ERR_SESSION_OPTION", message: expect.stringContaining("durability") }),
  );
});

describe.each(versions)("%s and a Redis in trouble", (_, create) => {
  async function setUp(port: number) {
    const client = create(`redis://127.0.0.1:${port}`);
    const sessions = createSessions({ secret, store: redisStore(client), storeTimeout: "2s" });
    onTestFinished(async () => {
      await sessions.close();
      if (client.isOpen) client.destroy();
    });
    return { client, sessions, browser: new Client(sessions) };
  }

  it("a Redis that was killed and came back has the sessions again; until then requests fail in time", async () => {
    const redis = await startRedis({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
    onTestFinished(() => redis.stop());
    const { browser } = await setUp(redis.port);
    await browser.request((session) => Object.assign(session, { user: "ada" }));
    await redis.kill();
    await expect(browser.request((session) => session.user)).rejects.toMatchObject({ status: 503 });
    await redis.restart();
    await until(
      () =>
        browser
          .twin()
          .request((session) => expect(session.user).toBe("ada"))
          .then(
            () => true,
            () => false,
          ),
      "the session to be back",
    );
  });

  it("a write whose answer was lost is repeated and counts once", async () => {
    const proxy = await startProxy(single.port);
    onTestFinished(() => proxy.stop());
    const { browser } = await setUp(proxy.port);
    await browser.request((session) => Object.assign(session, { count: 0 }));
    proxy.loseAnswerTo("EVALSHA");
    await browser.request((session) =>
      session.update((data) => Object.assign(data, { count: Number(data.count) + 1 })),
    );
    expect(proxy.lost).toBe(1);
    await browser.request((session) => expect(session.count).toBe(1));
  });

  it("a client that was ended stays so: the store says what is the matter", async () => {
    const { client, browser } = await setUp(single.port);
    await browser.request((session) => Object.assign(session, { user: "ada" }));
    client.destroy();
    await expect(browser.request((session) => session.user)).rejects.toThrow(/ended/);
    expect(client.isOpen).toBe(false);
  });
});

/** What a client is made of whose connections go through proxies: Redis's address, by which proxy, Sentinel's port. */
interface Ways {
  url: string;
  nodeAddressMap: (address: string) => { host: string; port: number };
  sentinel: { name: string; sentinelRootNodes: { host: string; port: number }[]; nodeClientOptions: object };
}

const kinds: readonly (readonly [string, (ways: Ways) => NodeRedisLike])[] = [
  ["node-redis 6", ({ url }) => createClient({ url, socket })],
  ["node-redis 5", ({ url }) => createClient5({ url, socket })],
  ["a node-redis 6 Cluster", ({ nodeAddressMap }) => createCluster({ rootNodes: rootNodes(), nodeAddressMap })],
  ["a node-redis 5 Cluster", ({ nodeAddressMap }) => createCluster5({ rootNodes: rootNodes(), nodeAddressMap })],
  ["node-redis 6 behind Sentinel", (ways) => createSentinel(ways.sentinel)],
  ["node-redis 5 behind Sentinel", (ways) => createSentinel5(ways.sentinel)],
];

it.each(kinds)(
  "%s whose connection is lost in the middle of its handshake is not deaf afterwards",
  async (what, create) => {
    const proxies = new Map<number, TcpProxy>();
    const nodes = what.includes("Cluster") ? cluster.nodes : [single];
    for (const { port } of nodes) proxies.set(port, await startProxy(port));
    const all = [...proxies.values()];
    const behind = (port: number): number => proxies.get(port)?.port ?? port;
    const name = "proxied";
    const config = (port: number) =>
      `port ${port}\nbind 127.0.0.1\nsentinel monitor ${name} 127.0.0.1 ${behind(single.port)} 1\n`;
    const watcher = what.includes("Sentinel") ? await startRedis({ args: ["--sentinel"], config }) : undefined;
    const sentinelRootNodes = [{ host: "127.0.0.1", port: watcher?.port ?? 0 }];
    const client = create({
      url: `redis://127.0.0.1:${behind(single.port)}`,
      nodeAddressMap: (address) => ({ host: "127.0.0.1", port: behind(Number(address.split(":").at(-1))) }),
      sentinel: { name, sentinelRootNodes, nodeClientOptions: { socket } },
    });
    const sessions = createSessions({ secret, store: redisStore(client), storeTimeout: "2s" });
    onTestFinished(async () => {
      await sessions.close();
      await client.destroy();
      await Promise.all([watcher?.stop(), ...all.map((proxy) => proxy.stop())]);
    });
    const browser = new Client(sessions);
    await browser.request((session) => Object.assign(session, { user: "ada" }));
    for (const proxy of all) proxy.loseAnswerTo("SETINFO");
    for (const proxy of all) proxy.cut();
    await until(() => all.every(({ lost }) => lost === 1), "the handshakes to be cut");
    await until(async () => {
      try {
        await browser.twin().request((session) => expect(session.user).toBe("ada"));
        return true;
      } catch {
        return false;
      }
    }, "the session to be back");
  },
);
