/** Parallel reads of one session share a command until it has left, and never an answer that may be too old. */
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { redisStore } from "../../src/stores/redis.ts";
import { call, liveRecord } from "../support/near-caches.ts";
import { type Monitor, type RedisServer, startRedis, until } from "../support/redis-server.ts";
import { startProxy, type TcpProxy } from "../support/tcp-proxy.ts";

const key = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";
const tuned = {
  commandTimeout: 5_000,
  socketTimeout: 10_000,
  maxRetriesPerRequest: 1,
  autoResendUnfulfilledCommands: false,
};

interface Options {
  lazyConnect?: boolean;
  enableAutoPipelining?: boolean;
  retryStrategy?: () => number;
}

let redis: RedisServer;
let proxy: TcpProxy;
let monitor: Monitor;
const clients: Redis[] = [];

beforeAll(async () => {
  redis = await startRedis();
  proxy = await startProxy(redis.port);
  monitor = await redis.monitor();
});
afterEach(() => {
  for (const client of clients.splice(0)) client.disconnect();
});
afterAll(async () => {
  await monitor.stop();
  await proxy.stop();
  await redis.stop();
});

function connect(port: number, options: Options = {}): Redis {
  const client = new Redis(port, { ...tuned, ...options });
  clients.push(client);
  return client;
}

/** How many GETs of the key Redis ran during `step`. */
async function getsOf(step: () => Promise<unknown>): Promise<number> {
  await monitor.flush();
  const start = monitor.lines.length;
  await step();
  await monitor.flush();
  return monitor.lines.slice(start).filter((line) => line.includes('"get"') && line.includes(key)).length;
}

const parallel = Array.from({ length: 20 });

describe("parallel reads of one session", () => {
  it("that wait for the connection are one command", async () => {
    const store = redisStore(connect(redis.port, { lazyConnect: true }));
    await redisStore(connect(redis.port)).write(key, liveRecord(store), "absent", call());
    let records: unknown[] = [];
    const gets = await getsOf(async () => {
      records = await Promise.all(parallel.map(() => store.read(key, call())));
    });
    expect(gets).toBe(1);
    expect(records).toHaveLength(20);
    expect(new Set(records).size).toBe(1);
    expect(records[0]).toMatchObject({ kind: "live" });
  });

  it("are one command where ioredis writes at the end of the tick, and one each where it writes at once", async () => {
    for (const [enableAutoPipelining, commands] of [
      [true, 1],
      [false, 20],
    ] as const) {
      const store = redisStore(connect(redis.port, { enableAutoPipelining }));
      await store.read(key, call());
      expect(await getsOf(() => Promise.all(parallel.map(() => store.read(key, call()))))).toBe(commands);
    }
  });

  it.each([true, false])(
    "never get an answer that is older than a write acknowledged before they began (auto-pipelining: %s)",
    async (enableAutoPipelining) => {
      const store = redisStore(connect(proxy.port, { enableAutoPipelining }));
      const other = redisStore(connect(redis.port));
      const known = await store.read(key, call());
      if (known?.kind !== "live") throw new Error("a live record");
      proxy.delayMs = 300;
      const early = store.read(key, call());
      await until(() => proxy.held > 0, "the first answer to be on its slow way");
      const result = await other.write(
        key,
        liveRecord(other, `by the other ${enableAutoPipelining}`),
        known.version,
        call(),
      );
      expect(result.ok).toBe(true);
      const late = store.read(key, call());
      proxy.delayMs = 0;
      expect(await early).toMatchObject({ version: known.version });
      expect(await late).toMatchObject({ version: result.ok && result.version });
    },
  );

  it("that joined one with less time go on by themselves when it gives up", async () => {
    const silent = connect(proxy.port, { lazyConnect: true, retryStrategy: () => 20 });
    silent.on("error", () => {});
    proxy.isShut = true;
    const store = redisStore(silent);
    const short = store.read(key, { ...call(), deadline: performance.now() + 100 });
    const long = store.read(key, call());
    await expect(short).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });
    proxy.isShut = false;
    expect(await long).toMatchObject({ kind: "live" });
  });
});
