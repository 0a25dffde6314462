/** What the URL form sends in a turn of the event loop leaves in one write, and waits for no answer of an earlier turn. */
import { Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { Store } from "../../src/store.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { call } from "../support/near-caches.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";
import { startProxy, type TcpProxy } from "../support/tcp-proxy.ts";

let redis: RedisServer;
let proxy: TcpProxy;
let store: Store | undefined;

beforeAll(async () => {
  redis = await startRedis();
  proxy = await startProxy(redis.port);
});
afterEach(async () => {
  vi.restoreAllMocks();
  proxy.delayMs = 0;
  await store?.close?.();
});
afterAll(async () => {
  await proxy.stop();
  await redis.stop();
});

const keys = Array.from({ length: 20 }, (_, index) => String(index).padStart(43, "k"));

function open(): Store {
  store = redisStore(`redis://127.0.0.1:${proxy.port}`);
  return store;
}

const burst = (from: Store): Promise<unknown[]> => Promise.all(keys.map((key) => from.read(key, call())));

/** How many chunks with a GET of ours the kernel was given. */
async function writesOf(step: () => Promise<unknown>): Promise<number> {
  const [one, many] = [vi.spyOn(Socket.prototype, "_write"), vi.spyOn(Socket.prototype, "_writev")];
  await step();
  const counted = [...one.mock.contexts, ...many.mock.contexts].filter(
    (socket) => socket instanceof Socket && socket.remotePort === proxy.port,
  ).length;
  vi.restoreAllMocks();
  return counted;
}

describe("the URL form", () => {
  it("sends a turn's commands in one write, also on the connection after a reconnect", async () => {
    const opened = open();
    await burst(opened);
    expect(await writesOf(() => burst(opened))).toBe(1);
    proxy.cut();
    await burst(opened);
    expect(await writesOf(() => burst(opened))).toBe(1);
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
    expect(await writesOf(() => burst(opened))).toBe(1);
  });
});
