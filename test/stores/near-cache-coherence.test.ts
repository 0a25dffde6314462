/**
 * The near cache never answers with something older than it may: each way in which Redis's tracking goes silent, on
 * real servers. `a` is the cache under test, behind a proxy; `other` is another node, without a cache.
 */
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { LiveRecord, Store, StoreRecord } from "../../src/store.ts";
import { nearCache } from "../../src/stores/near-cache.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { call, liveRecord, untilServing } from "../support/near-caches.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";
import { startProxy, type TcpProxy } from "../support/tcp-proxy.ts";

const key = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";
const second = "second-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBv";
const tuned = {
  socketTimeout: 5_000,
  maxRetriesPerRequest: 1,
  autoResendUnfulfilledCommands: false,
  retryStrategy: () => 50,
};

let redis: RedisServer;
let proxy: TcpProxy;
let client: Redis;
let otherClient: Redis;
let a: Store;
let other: Store;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

beforeEach(async () => {
  await redis.command("FLUSHALL");
  proxy = await startProxy(redis.port);
  client = new Redis(proxy.port, { ...tuned, commandTimeout: 1_000 });
  client.on("error", () => {});
  otherClient = new Redis(redis.port, { ...tuned, commandTimeout: 5_000 });
  otherClient.on("error", () => {});
  a = nearCache(redisStore(client));
  other = redisStore(otherClient);
  await untilServing(a, key);
});
afterEach(async () => {
  await Promise.all([a.close?.(), other.close?.()]);
  client.disconnect();
  otherClient.disconnect();
  await proxy.stop();
});

const textOf = (record: StoreRecord | undefined): string | undefined =>
  record?.kind === "live" ? Buffer.from(record.payload).toString() : record?.kind;
const peeked = (store: Store = a): string | undefined => textOf(store.peek?.(key));
const read = async (store: Store = a): Promise<string | undefined> => textOf(await store.read(key, call()));

/** Writes over what stands there. */
async function change(store: Store, text: string, at: string = key): Promise<LiveRecord> {
  const known = await store.read(at, { ...call(), fresh: true });
  const record = liveRecord(store, text);
  const result = await store.write(at, record, known?.kind === "live" ? known.version : "absent", call());
  if (!result.ok) throw new Error("the write was refused");
  return { ...record, version: result.version };
}

async function ids(name: string): Promise<string[]> {
  const list = await redis.command("CLIENT", "LIST");
  const lines = list.split("\n").filter((line) => ` ${line} `.includes(` name=${name} `));
  return lines.map((line) => /id=(\d+)/.exec(line)?.[1] ?? "");
}

/** The ends of a change that `other` makes: heard by `a`, and read by it. */
async function seesChanges(text: string): Promise<void> {
  await untilServing(a, key);
  await change(other, text);
  await until(() => peeked() === undefined, "the cache to hear of the change");
  expect(await read()).toBe(text);
  expect(peeked()).toBe(text);
}

describe("a copy", () => {
  it("is dropped when another node writes, touches or ends the session", async () => {
    await seesChanges("written");
    const record = a.peek?.(key);
    const stamp = { version: record?.version ?? "", touchedAt: other.now() + 1, expiresAt: other.now() + 7_200_000 };
    expect(await other.touch(key, stamp, call())).toBe("touched");
    await until(() => peeked() === undefined, "the cache to hear of the touch");
    expect(await a.read(key, call())).toMatchObject({ touchedAt: stamp.touchedAt, expiresAt: stamp.expiresAt });
    await other.remove(key, { reason: "logout", until: other.now() + 60_000 }, call());
    await until(() => peeked() === undefined, "the cache to hear of the end");
    expect(await a.read(key, call())).toMatchObject({ kind: "ended", reason: "logout" });
  });

  it("of an own write is kept, costs no read, and is still dropped when another node writes (the NOLOOP trap)", async () => {
    const monitor = await redis.monitor();
    for (const round of [1, 2, 3]) {
      const known = a.peek?.(key) ?? (await a.read(key, call()));
      if (known?.kind !== "live") throw new Error("a live record");
      await monitor.flush();
      const start = monitor.lines.length;
      const result = await a.write(key, liveRecord(a, `own ${round}`), known.version, call());
      expect(result.ok).toBe(true);
      expect(peeked()).toBe(`own ${round}`);
      expect(a.peek?.(key)?.version).toBe(result.ok && result.version);
      await monitor.flush();
      const commands = monitor.lines.slice(start).filter((line) => line.includes(key) && !line.includes("lua]"));
      expect(commands.map((line) => /"(\w+)"/.exec(line)?.[1])).toEqual(["evalsha"]);
      await change(other, `foreign ${round}`);
      await until(() => peeked() === undefined, "the cache to hear of the write after its own");
      expect(await read()).toBe(`foreign ${round}`);
    }
    await monitor.stop();
  });

  it("stays over an own touch, with its new times, and is still dropped when another node writes", async () => {
    const record = a.peek?.(key);
    const stamp = { version: record?.version ?? "", touchedAt: a.now() + 1, expiresAt: a.now() + 7_200_000 };
    expect(await a.touch(key, stamp, call())).toBe("touched");
    expect(a.peek?.(key)).toMatchObject({ touchedAt: stamp.touchedAt, expiresAt: stamp.expiresAt });
    expect(textOf(await other.read(key, call()))).toBe("{}");
    await change(other, "after the touch");
    await until(() => peeked() === undefined, "the cache to hear of the write after its own touch");
  });

  it("is read with GET, as Redis tracks no GETEX, and is dropped by a foreign GETEX or EXPIRE", async () => {
    const monitor = await redis.monitor();
    await otherClient.getex(`holdfast:${key}`, "EX", 7_000);
    await until(() => peeked() === undefined, "the cache to hear of GETEX");
    await untilServing(a, key);
    await otherClient.expire(`holdfast:${key}`, 6_000);
    await until(() => peeked() === undefined, "the cache to hear of EXPIRE");
    await read();
    await monitor.stop();
    const names = monitor.lines.filter((line) => line.includes(key)).map((line) => /"(\w+)"/.exec(line)?.[1]);
    expect(new Set(names)).toEqual(new Set(["getex", "expire", "get"]));
  });

  it("is dropped by FLUSHALL and FLUSHDB, which name no key", async () => {
    await redis.command("FLUSHALL");
    await until(() => peeked() === undefined, "the cache to hear of FLUSHALL");
    expect(await read()).toBeUndefined();
    await untilServing(a, key);
    await redis.command("FLUSHDB");
    await until(() => peeked() === undefined, "the cache to hear of FLUSHDB");
    await seesChanges("after the flush");
  });

  it("is dropped with others in one message, as after MULTI", async () => {
    await untilServing(a, second);
    await untilServing(a, key);
    await otherClient.multi().del(`holdfast:${key}`).del(`holdfast:${second}`).exec();
    await until(() => peeked() === undefined && a.peek?.(second) === undefined, "both to be dropped");
  });

  it("is not made of an answer that a change overtook", async () => {
    await untilServing(a, second);
    await change(other, "old");
    await until(() => peeked() === undefined, "the cache to hear of the change");
    const goOn = proxy.freeze("TRACKING");
    const slow = read();
    await until(async () => (await ids("holdfast-near-cache")).length === 1, "the tracked connection");
    const [id] = await ids("holdfast-near-cache");
    await until(
      async () => new RegExp(`^id=${id} .* cmd=get `, "m").test(await redis.command("CLIENT", "LIST")),
      "Redis to have answered the read",
    );
    await change(other, "new");
    await change(other, "mark", second);
    await until(() => a.peek?.(second) === undefined, "the report of the later change, and so that of the earlier one");
    goOn();
    expect(await slow).toBe("old");
    expect(peeked()).toBeUndefined();
    expect(await read()).toBe("new");
  });

  it("that is too old costs its writer a refusal, never data", async () => {
    const stale = a.peek?.(key);
    const goOn = proxy.freeze("subscribe");
    await change(other, "by the other");
    const late = await a.write(key, liveRecord(a, "by this one"), stale?.version ?? "", call());
    expect(late.ok).toBe(false);
    expect(!late.ok && textOf(late.current)).toBe("by the other");
    expect(await read(other)).toBe("by the other");
    expect(await read()).toBe("by the other");
    goOn();
  });

  it("is passed by where the reader asks for the newest", async () => {
    const goOn = proxy.freeze("subscribe");
    await change(other, "newest");
    expect(textOf(await a.read(key, { ...call(), fresh: true }))).toBe("newest");
    goOn();
  });
});

describe("a connection that is lost", () => {
  it.each(["holdfast-near-cache", "holdfast-near-cache-ear"])(
    "(%s) empties the cache; it serves again once it is tracked again",
    async (name) => {
      const [id = ""] = await ids(name);
      await redis.command("CLIENT", "KILL", "ID", id);
      await until(() => peeked() === undefined, "the cache to be empty");
      await change(other, "meanwhile");
      expect(await read()).toBe("meanwhile");
      await seesChanges("afterwards");
      expect(await ids(name)).not.toContain(id);
    },
  );

  it("with all others empties the cache as well", async () => {
    proxy.cut();
    await until(() => peeked() === undefined, "the cache to be empty");
    await change(other, "meanwhile");
    await until(
      () =>
        read().then(
          (text) => text === "meanwhile",
          () => false,
        ),
      "the connection to come back",
    );
    await seesChanges("afterwards");
  });

  it("of the user's client begins a new era: its master may be another one", async () => {
    const before = await ids("holdfast-near-cache");
    client.disconnect(true);
    await until(async () => {
      await read().catch(() => {});
      const now = await ids("holdfast-near-cache");
      return now.length === 1 && now[0] !== before[0];
    }, "new tracked connections");
    await seesChanges("afterwards");
  });

  it("half, a subscriber that hears nothing any more, is found out by its PING", async () => {
    const goOn = proxy.freeze("subscribe");
    await change(other, "unheard");
    await until(() => peeked() === undefined, "the cache to doubt");
    for (let turn = 0; turn < 20; turn++) {
      expect(await read()).toBe("unheard");
      expect(peeked()).toBeUndefined();
    }
    goOn();
    await seesChanges("heard again");
  });

  it("leaves the user's own connection untracked, and ends with the cache", async () => {
    const list = await redis.command("CLIENT", "LIST");
    const tracked = list.split("\n").filter((line) => / flags=\w*t/.test(line));
    expect(tracked).toHaveLength(1);
    expect(tracked[0]).toContain("name=holdfast-near-cache ");
    await a.close?.();
    await until(async () => !(await redis.command("CLIENT", "LIST")).includes("holdfast-near-cache"), "them to go");
    expect(client.status).toBe("ready");
  });
});

describe("without tracking", () => {
  it("everything is read from Redis, and the reason is said once", async () => {
    await redis.command("ACL", "SETUSER", "plain", "on", "nopass", "~*", "&*", "+@all", "-client|tracking");
    const warnings: string[] = [];
    const listen = (warning: Error & { code?: string }): void => {
      if (warning.code === "HOLDFAST_NEAR_CACHE") warnings.push(warning.message);
    };
    process.on("warning", listen);
    const limited = new Redis(redis.port, { ...tuned, commandTimeout: 1_000, username: "plain", password: "x" });
    const near = nearCache(redisStore(limited));
    await until(async () => {
      expect(await read(near)).toBe("{}");
      expect(peeked(near)).toBeUndefined();
      return warnings.length > 0;
    }, "the warning");
    expect(warnings).toEqual([expect.stringContaining("+client|tracking")]);
    await change(near, "through the usual connection");
    expect(await read(near)).toBe("through the usual connection");
    await near.close?.();
    limited.disconnect();
    process.off("warning", listen);
  });
});
