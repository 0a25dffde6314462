/**
 * Whatever stands under a session's key in Redis: a new anonymous session, one report with the public id, the record
 * left alone. Never a 5xx (but for a newer format), a polluted prototype or another user's data.
 */
import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { createSessions, type SessionEvents, type SessionOptions, type Sessions } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { Browser } from "../support/browser.ts";
import { seed, tally, times } from "../support/counts.ts";
import { Client } from "../support/exchange.ts";
import { type Framework, frameworks, type Routes } from "../support/frameworks.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const secret = "a secret of the tests of garbage, long enough";
let server: RedisServer;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.port);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

const routes: Routes = {
  "/hello": () => "hello",
  "/data": ({ session }) => ({ id: session.id, data: { ...session } }),
  "/set": ({ session, query }) => {
    for (const [key, value] of query) session[key] = value;
    return { id: session.id };
  },
  "/grow": ({ session, query }) => {
    session.big = "x".repeat(Number(query.get("bytes")));
    return "grown";
  },
  "/login": async ({ session }) => {
    await session.renew();
    session.user = "bob";
    return { id: session.id };
  },
  "/logout": async ({ session }) => {
    await session.destroy();
    return "bye";
  },
};

interface Bench {
  browser: Browser;
  sessions: Sessions;
  /** The public id of the browser's session, `{ user: "alice" }`. */
  id: string;
  key: string;
  rejected: SessionEvents["rejected"][];
}

/** What an answer says is tested, not how soon it comes: 50 MB take a busy machine longer than a command may take. */
function patient(): Pick<SessionOptions, "store" | "storeTimeout"> {
  return { store: redisStore(server.url, { commandTimeout: 30_000, socketTimeout: 40_000 }), storeTimeout: "60s" };
}

async function bench(framework: Framework, options: Partial<SessionOptions> = {}): Promise<Bench> {
  const sessions = createSessions({ secret, ...patient(), ...options });
  const rejected: SessionEvents["rejected"][] = [];
  sessions.on("rejected", (event) => void rejected.push(event));
  const app = await framework.start(sessions, routes);
  onTestFinished(async () => {
    await app.close();
    await sessions.close();
  });
  const browser = new Browser(app.url);
  const { id } = (await browser.get("/set?user=alice")).json<{ id: string }>();
  return { browser, sessions, id, key: `holdfast:${id}`, rejected };
}

/** Puts something else in place of a session's record. */
type Spoil = (key: string) => Promise<unknown>;

/** A sound header with another payload. */
const payload =
  (text: string | Buffer): Spoil =>
  async (key) => {
    const header = await redis.getrangeBuffer(key, 0, 68);
    await redis.set(key, Buffer.concat([header, Buffer.from(text)]), "KEEPTTL");
  };

const instead =
  (value: string): Spoil =>
  (key) =>
    redis.set(key, value);

const rows: Record<string, Spoil> = {
  "invalid JSON": payload('\n{"user":"ali'),
  "no payload at all": payload(""),
  "a payload without its first line": payload('{"user":"mallory"}'),
  "a broken first line": payload('{"maxAge":\n{"user":"mallory"}'),
  "a first line with another type": payload('{"maxAge":"long"}\n{"user":"mallory"}'),
  "a JSON array": payload('\n["mallory"]'),
  "a JSON null": payload("\nnull"),
  "a JSON string": payload('\n"mallory"'),
  "a key that only a member may have": payload('\n{"save":"mallory"}'),
  "a cookie key, as express-session has it": payload('\n{"cookie":{"originalMaxAge":null},"user":"mallory"}'),
  "a hundred thousand brackets": payload(`\n{"user":${"[".repeat(100_000)}`),
  "a list": async (key) => {
    await redis.del(key);
    await redis.rpush(key, "user", "mallory");
  },
  "a hash": async (key) => {
    await redis.del(key);
    await redis.hset(key, { user: "mallory", data: "mallory" });
  },
  "a record of connect-redis": instead('{"cookie":{"originalMaxAge":null},"user":"mallory"}'),
  "a record of @fastify/session": instead('{"cookie":{"path":"/","httpOnly":true},"sessionId":"x","user":"mallory"}'),
  "a PHP session": instead('user|s:7:"mallory";'),
  "an empty string": instead(""),
  "another session's record": async (key) => {
    const client = await signIn("mallory");
    await redis.copy(`holdfast:${client.id}`, key, "REPLACE");
  },
  "50 MB": async (key) => {
    await payload('\n{"user":"mallory","big":"')(key);
    await redis.setrange(key, 50 * 1024 * 1024, '"}');
  },
};

/** A session made by another engine, straight in Redis. */
async function signIn(user: string): Promise<{ id: string }> {
  const sessions = createSessions({ secret, store: redisStore(server.url) });
  let id = "";
  await new Client(sessions).request((session) => {
    session.user = user;
    id = session.id;
  });
  await sessions.close();
  return { id };
}

/** The bytes under a key, whatever their type. */
const contentOf = (key: string): Promise<Buffer | null> => redis.dumpBuffer(key);

describe.each(frameworks.map((framework) => [framework.name, framework] as const))("with %s", (_, framework) => {
  it.each(Object.entries(rows))(
    "%s under the key is a new anonymous session, reported once, and left alone",
    async (_what, spoil) => {
      const { browser, sessions, id, key, rejected } = await bench(framework);
      await spoil(key);
      const before = await contentOf(key);
      const old = browser.at(browser.url);
      const read = await browser.get("/data");
      expect([read.status, read.json<{ data: object }>().data, read.setCookies]).toEqual([200, {}, []]);
      expect(read.json().id).not.toBe(id);
      expect(rejected).toEqual([expect.objectContaining({ reason: "garbage", id })]);
      expect(await sessions.get(id)).toBeUndefined();
      // Writing begins a session under an id of its own.
      const written = await browser.get("/set?cart=pen");
      expect([written.status, written.setCookies.length]).toEqual([200, 1]);
      expect((await browser.get("/data")).json()).toEqual({ id: written.json().id, data: { cart: "pen" } });
      expect((await browser.get("/logout")).text).toBe("bye");
      // Whoever still has the cookie can log out, and can log in.
      const logout = await old.at(old.url).get("/logout");
      expect([logout.status, logout.text]).toEqual([200, "bye"]);
      const login = await old.get("/login");
      expect([login.status, login.setCookies.length]).toEqual([200, 1]);
      expect((await old.get("/data")).json()).toEqual({ id: login.json().id, data: { user: "bob" } });
      expect((await contentOf(key))?.equals(before ?? Buffer.of())).toBe(true);
      expect(new Set(rejected.map((event) => `${event.reason} ${event.id}`))).toEqual(new Set([`garbage ${id}`]));
      expect(JSON.stringify(rejected)).not.toContain("mallory");
      await redis.unlink(key);
      tally("T13", "corruptions by hand, over HTTP");
    },
  );

  it("keys named __proto__ and constructor are data, and pollute nothing", async () => {
    const { browser, key, rejected } = await bench(framework);
    const text = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"user":"alice"}';
    await payload(`\n${text}`)(key);
    const read = await browser.get("/data");
    expect(read.status).toBe(200);
    expect(read.text).toContain(`"data":${text}`);
    expect((await browser.get("/set?theme=dark")).status).toBe(200);
    expect((await browser.get("/data")).text).toContain('"theme":"dark"');
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect((await redis.get(key))?.slice(69)).toBe(`\n${text.slice(0, -1)},"theme":"dark"}`);
    expect(rejected).toEqual([]);
  });

  it("a record of a newer format is a 503 and left alone; the cookie too; what needs no session is served", async () => {
    const { browser, id, key, rejected } = await bench(framework);
    const newer = `H2L${id.slice(-6)} and whatever a later version writes`;
    await redis.set(key, newer, "EX", 600);
    const cookie = browser.cookieHeader;
    for (const path of ["/data", "/set?user=eve", "/login", "/logout"]) {
      const answer = await browser.get(path);
      expect([path, answer.status, answer.setCookies]).toEqual([path, 503, []]);
    }
    expect((await browser.get("/hello")).text).toBe("hello");
    expect([await redis.get(key), browser.cookieHeader, rejected]).toEqual([newer, cookie, []]);
    // A browser without that cookie is served as ever.
    expect((await new Browser(browser.url).get("/set?user=carol")).status).toBe(200);
    await redis.del(key);
  });

  it("a session beyond maxRecordSize is refused with its code; the stored one stays and goes on", async () => {
    const { browser, id } = await bench(framework, { maxRecordSize: 4096 });
    const refused = await browser.get("/grow?bytes=5000");
    expect([refused.status, refused.text, refused.setCookies]).toEqual([500, "ERR_SESSION_TOO_LARGE", []]);
    expect((await browser.get("/data")).json()).toEqual({ id, data: { user: "alice" } });
    expect((await browser.get("/grow?bytes=3000")).text).toBe("grown");
    const fresh = new Browser(browser.url);
    expect((await fresh.get("/grow?bytes=5000")).status).toBe(500);
    expect(fresh.cookieHeader).toBeUndefined();
  });
});

describe(`any bytes under the key (seed ${seed})`, () => {
  const records = times(1000, 100_000);

  it(
    "random, cut short or changed: the user's own session or an anonymous one, one report, and writing works",
    async () => {
      const sessions = createSessions({ secret, ...patient() });
      onTestFinished(() => sessions.close());
      const rejected: SessionEvents["rejected"][] = [];
      sessions.on("rejected", (event) => void rejected.push(event));
      const client = new Client(sessions);
      let id = "";
      await client.request((session) => {
        Object.assign(session, { user: "alice", roles: ["reader"], nested: { deep: [1, 2, { three: null }] } });
        id = session.id;
      });
      const { cookie } = client;
      const key = `holdfast:${id}`;
      const sound = (await redis.getBuffer(key)) ?? Buffer.of();
      const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
      const position = fc.nat(sound.length - 1);
      const spoilt = fc.oneof(
        bytes,
        position.map((end) => sound.subarray(0, end)),
        fc.tuple(position, bytes).map(([at, more]) => Buffer.concat([sound.subarray(0, at), more, sound.subarray(at)])),
        fc.tuple(position, bytes).map(([at, more]) => Buffer.concat([sound.subarray(0, at), more])),
        bytes.map((more) => Buffer.concat([sound.subarray(0, 69), more])),
        fc.json().map((text) => Buffer.concat([sound.subarray(0, 69), Buffer.from(`\n${text}`)])),
        fc.tuple(position, fc.nat(255)).map(([at, byte]) => Buffer.from(sound).fill(byte, at, at + 1)),
      );
      await fc.assert(
        fc.asyncProperty(spoilt, async (record) => {
          await redis.set(key, record, "PX", 60_000);
          rejected.length = 0;
          const visitor = new Client(sessions, cookie);
          const request = await visitor.arrive().catch((error: { status?: number }) => error.status);
          if (typeof request === "number" || request === undefined) {
            // Another format revision, which only these bytes can claim.
            expect([request, /^H[02-9A-Z]/.test(record.toString("latin1"))]).toEqual([503, true]);
            return;
          }
          const { session } = request;
          const isOwn = session.id === id;
          expect(Object.getPrototypeOf(Object.getPrototypeOf(session))).toBe(Object.prototype);
          if (isOwn) expect(rejected).toEqual([]);
          else {
            expect({ ...session }).toEqual({});
            expect(rejected.filter((event) => event.id === id && event.reason === "garbage").length).toBeLessThan(2);
          }
          // A tombstone that nobody wrote may stand there: then only a login begins a session.
          await session.renew();
          session.mark = "yes";
          const exchange = await visitor.leave(request);
          expect(exchange.setCookies).toHaveLength(1);
          await visitor.request((next) => expect(next.mark).toBe("yes"));
          expect(await redis.exists(key)).toBe(1);
        }),
        { numRuns: records, seed },
      );
      tally("T13", "records of any bytes", records);
      expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    },
    times(600_000, 1_800_000),
  );
});
