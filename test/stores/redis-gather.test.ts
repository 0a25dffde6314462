/**
 * What the URL form sends in a turn of the event loop leaves in one write, and waits for no answer of an earlier turn;
 * whatever happens to the turn or its connection, nothing is held back for longer. Over TLS, and behind Sentinel with it:
 * `redis-tls.test.ts`.
 */
import type { Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createSessions } from "../../src/index.ts";
import type { Store } from "../../src/store.ts";
import { nearCache } from "../../src/stores/near-cache.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { until } from "../support/deferred.ts";
import { Client } from "../support/exchange.ts";
import { call, liveRecord, untilServing } from "../support/near-caches.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { type RedisCluster, startCluster } from "../support/redis-topologies.ts";
import { corkedTo, writesTo } from "../support/socket-writes.ts";
import { startProxy, type TcpProxy } from "../support/tcp-proxy.ts";

let redis: RedisServer;
let cluster: RedisCluster;
let proxy: TcpProxy;
let store: Store | undefined;

beforeAll(async () => {
  [redis, cluster] = await Promise.all([startRedis(), startCluster()]);
  proxy = await startProxy(redis.port);
}, 30_000);
afterEach(async () => {
  proxy.delayMs = 0;
  proxy.spare();
  await store?.close?.();
});
afterAll(async () => {
  await proxy.stop();
  await Promise.all([redis.stop(), cluster.stop()]);
});

const keys = Array.from({ length: 20 }, (_, index) => String(index).padStart(43, "k"));

function open(url = `redis://127.0.0.1:${proxy.port}`): Store {
  store = redisStore(url);
  return store;
}

const burst = (from: Store): Promise<unknown[]> => Promise.all(keys.map((key) => from.read(key, call())));
const writesOf = (from: Store): Promise<number[]> => writesTo([proxy.port], () => burst(from));

describe("the URL form", () => {
  it("sends a turn's commands in one write, also on the connection after a reconnect", async () => {
    const opened = open();
    await burst(opened);
    expect(await writesOf(opened)).toEqual([1]);
    proxy.cut();
    await burst(opened);
    expect(await writesOf(opened)).toEqual([1]);
  });

  it("sends them in one write to each node of a Cluster", async () => {
    const ports = cluster.nodes.map(({ port }) => port);
    const opened = open(`redis+cluster://${ports.map((port) => `127.0.0.1:${port}`).join(",")}`);
    // Its connections to nodes are made when they are needed.
    await burst(opened);
    expect(await writesTo(ports, () => burst(opened))).toEqual([1, 1, 1]);
  });

  it("sends a turn's misses, and its saves, in one write behind a near cache too", async () => {
    store = nearCache(redisStore(`redis://127.0.0.1:${proxy.port}`));
    const cache = store;
    await untilServing(cache, "near".padEnd(43, "k"));
    const save = (key: string) => cache.write(key, liveRecord(cache), "absent", call());
    // Once a second a cache asks on its connections whether they are alive: a write more in that turn.
    const smallest = async (step: (turn: number) => Promise<unknown>) => {
      const turns: number[] = [];
      for (const turn of [0, 1, 2]) turns.push(Math.max(...(await writesTo([proxy.port], () => step(turn)))));
      return Math.min(...turns);
    };
    expect(await smallest(() => burst(cache))).toBe(1);
    expect(await smallest((turn) => Promise.all(keys.map((key) => save(`${turn}${key.slice(1)}`))))).toBe(1);
  });

  it("sends the next turn's while the first one's answers are on their way", async () => {
    const opened = open();
    await burst(opened);
    proxy.delayMs = 200;
    const first = burst(opened);
    await until(() => proxy.held > 0, "the first answers to be held back");
    const held = proxy.held;
    const second = burst(opened);
    await until(() => proxy.held > held, "the second answers beside the first");
    await Promise.all([first, second]);
  });

  it("answers what was asked in the turn in which its connection is cut", async () => {
    const opened = open();
    await burst(opened);
    const reads = burst(opened);
    proxy.cut();
    expect(await reads).toHaveLength(keys.length);
    expect(await writesOf(opened)).toEqual([1]);
  });

  it.each([
    ["fails", (socket?: Socket) => socket?.destroy(new Error("read ETIMEDOUT"))],
    ["is closed", (socket?: Socket) => socket?.destroy()],
    ["is ended", (socket?: Socket) => socket?.end()],
  ])("answers what was held back by a connection that %s in that turn, by the next one", async (_, lose) => {
    const opened = open();
    await burst(opened);
    const corked = corkedTo([proxy.port]);
    const reads = burst(opened);
    // A read begins at once, so that its connection is held back by now.
    const [socket, ...others] = corked;
    expect([socket?.writableCorked, others]).toEqual([1, []]);
    lose(socket);
    expect(await reads).toHaveLength(keys.length);
    expect(await writesOf(opened)).toEqual([1]);
    expect([...corked].map(({ writableCorked }) => writableCorked)).toEqual([0, 0]);
  });

  it("saves the other sessions of a turn in which a handler throws", async () => {
    const sessions = createSessions({ secret: "a secret of the tests of gathering, long enough", store: open() });
    const browsers = keys.map(() => new Client(sessions));
    await Promise.all(browsers.map((browser) => browser.request((session) => session.save())));
    const corked = corkedTo([proxy.port]);
    const visits = browsers.map((browser, index) =>
      browser.request((session) => {
        if (index % 2 === 1) throw new Error("a handler's own");
        Object.assign(session, { index });
      }),
    );
    const results = await Promise.allSettled(visits);
    expect(results.map(({ status }) => status)).toEqual(keys.map((_, at) => (at % 2 === 1 ? "rejected" : "fulfilled")));
    const seen: unknown[] = [];
    await Promise.all(browsers.map((browser, at) => browser.request(({ index }) => (seen[at] = index))));
    expect(seen).toEqual(keys.map((_, at) => (at % 2 === 1 ? undefined : at)));
    expect([...corked].map(({ writableCorked }) => writableCorked)).toEqual([0]);
    await sessions.close();
  });
});
