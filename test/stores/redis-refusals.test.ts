/** What the Redis store does when Redis answers and says no: a full memory, an ACL. */
import { inspect } from "node:util";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createSessions, type Sessions } from "../../src/index.ts";
import type { NewRecord, Store } from "../../src/store.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { accepted, inTime } from "../../src/testing/contract-kit.ts";
import { Client } from "../support/exchange.ts";
import { expectTook } from "../support/in-time.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";

const secret = "a secret of the tests of refusals, long enough";
const key = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";
const hour = 3_600_000;

let server: RedisServer;
let redis: Redis;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.port);
  redis.on("error", () => {});
});

afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await redis.flushall();
});

function open(url: string): Store {
  const store = redisStore(url);
  ends.push(() => store.close?.());
  return store;
}

function record(store: Store, text: string): NewRecord {
  const now = store.now();
  const payload = Buffer.from(text);
  return { kind: "live", createdAt: now, touchedAt: now, expiresAt: now + hour, absoluteExpiresAt: null, payload };
}

async function create(store: Store, text = "data"): Promise<string> {
  return accepted(await store.write(key, record(store, text), "absent", inTime()));
}

describe("a refusal by Redis", () => {
  test("is a SessionError at once, whose cause shows no session data", async () => {
    const store = open(server.url);
    await store.read(key, inTime());
    await redis.config("SET", "maxmemory", "1");
    const start = performance.now();
    const failure = await store.write(key, record(store, "topsecret"), "absent", inTime()).catch((error) => error);
    const took = performance.now() - start;
    await redis.config("SET", "maxmemory", "0");
    expect(failure).toMatchObject({ name: "SessionError", code: "ERR_SESSION_STORE", status: 503 });
    expect(failure.cause.message).toMatch(/^OOM/);
    expectTook(took, 200, "a refusal");
    const shown = inspect(failure, { depth: 10 });
    expect(shown).not.toContain("topsecret");
    expect(shown).not.toContain(Buffer.from("topsecret").toString("hex").replace(/../g, "$& ").trim());
  });

  test("names what an ACL user needs", async () => {
    await redis.acl("SETUSER", "poor", "on", ">poor", "~*", "+get", "+info");
    const store = open(server.url.replace("redis://", "redis://poor:poor@"));
    await expect(store.read(key, inTime())).rejects.toThrow(/\+time \+info \+evalsha/);
  });

  describe.each(["ioredis", "node-redis"])("by an ACL, with %s", (kind) => {
    const storeOf = async (user: string): Promise<Store> => {
      const url = server.url.replace("redis://", `redis://${user}:${user}@`);
      if (kind === "ioredis") return open(url);
      const client = createClient({ url, socket: { socketTimeout: 2_500 } });
      ends.push(() => client.isOpen && client.destroy());
      const store = redisStore(client);
      ends.push(() => store.close?.());
      return store;
    };
    const nodes = async (user: string): Promise<[Sessions, Sessions]> => {
      const principal = (data: Record<string, unknown>) => data["userId"] as string | undefined;
      const options = {
        secret,
        principal,
        maxSessions: 20,
        ttl: "1h",
        expiredEvents: true,
        storeTimeout: "10s",
      } as const;
      const both = [await storeOf(user), await storeOf(user)].map((store) => createSessions({ ...options, store }));
      ends.push(() => Promise.all(both.map((sessions) => sessions.close())));
      return both as [Sessions, Sessions]; // one each
    };

    test("lets a user who may do what the message names, and no more, do everything", async () => {
      await redis.acl("SETUSER", "poor", "on", ">poor", "~*", "+get", "+info");
      const refusal = await (await storeOf("poor")).read(key, inTime()).catch(({ message }: Error) => message);
      const named = [...String(refusal).matchAll(/\+[a-z]+/g)]
        .map(([command]) => command)
        .filter((name) => name !== "+wait");
      const hello = kind === "ioredis" ? [] : ["+hello"]; // RESP3 begins with it
      await redis.acl("SETUSER", "rich", "on", ">rich", "~holdfast:*", "&holdfast:ended", ...named, ...hello);
      await redis.config("RESETSTAT");
      await redis.script("FLUSH");
      const [here, there] = await nodes("rich");
      const heard: string[] = [];
      const expired: string[] = [];
      there.on("destroyed", ({ reason, isRemote }) => void heard.push(`${reason} ${isRemote}`));
      here.on("expired", ({ id }) => void expired.push(id));
      const users = Array.from({ length: 18 }, () => new Client(here));
      for (const client of users) await client.request((session) => Object.assign(session, { userId: "ada" }));
      const [first, second, last] = users as [Client, Client, Client]; // of eighteen
      await first.request((session) => session.renew());
      await second.request((session) => session.touch());
      await until(async () => {
        await new Client(here).request((session) => session.save().then(() => session.destroy()));
        return heard.length > 0;
      }, "the other node to hear");
      let lives = "";
      await last.request((session) => {
        lives = session.id;
      });
      expect(await here.destroyAll("ada", { except: lives })).toBe(17);
      expect((await there.list("ada")).map(({ id }) => id)).toEqual([lives]);
      await until(() => heard.filter((what) => what === "revoked true").length === 17, "the other node to be told");
      await last.request((session) => session.expire({ idle: 1_500 }));
      await until(() => expired.includes(lives), "the session to expire");
      const stats = await redis.info("commandstats");
      const unused = named.filter((name) => !stats.includes(`cmdstat_${name.slice(1)}:`));
      // PING comes every five seconds.
      expect(unused.filter((name) => name !== "+ping")).toEqual([]);
    });

    test("says so, once, where it keeps a node from hearing of the others", async () => {
      await redis.acl("SETUSER", "deaf", "on", ">deaf", "~*", "+@all", "resetchannels");
      const warnings: string[] = [];
      const listen = ({ code, message }: Error & { code?: string }): void => {
        if (code === "HOLDFAST_REDIS_CHANNEL") warnings.push(message);
      };
      process.on("warning", listen);
      ends.push(() => process.off("warning", listen));
      const [here, there] = await nodes("deaf");
      there.on("destroyed", () => {});
      await until(() => warnings.length > 0, "the warning");
      expect(warnings[0]).toContain("&holdfast:ended");
      await new Client(here).request((session) => session.save().then(() => session.destroy()));
      await redis.acl("SETUSER", "deaf", "&holdfast:ended");
      const heard: unknown[] = [];
      there.on("destroyed", (event) => void heard.push(event));
      await until(async () => {
        await new Client(here).request((session) => session.save().then(() => session.destroy()));
        return heard.length > 0;
      }, "the node to hear after all");
      expect(warnings).toHaveLength(1);
    });
  });
});

test("logout and touch work when Redis is out of memory", async () => {
  const store = open(server.url);
  const version = await create(store);
  await redis.config("SET", "maxmemory", "1");
  try {
    const expiresAt = store.now() + 2 * hour;
    expect(await store.touch(key, { version, touchedAt: store.now(), expiresAt }, inTime())).toBe("touched");
    expect(await store.read(key, inTime())).toMatchObject({ kind: "live", expiresAt });
    await store.remove(key, { reason: "logout", until: expiresAt }, inTime());
    await store.remove(`${key}x`, { reason: "logout", until: expiresAt }, inTime());
    expect(await store.read(key, inTime())).toMatchObject({ kind: "ended", reason: "logout" });
    expect(await store.read(`${key}x`, inTime())).toMatchObject({ kind: "ended", reason: "logout" });
  } finally {
    await redis.config("SET", "maxmemory", "0");
  }
});
