/**
 * Rules of the OWASP Session Management Cheat Sheet (CS) and of the ASVS, 4.0.3 and 5.0, each by what a client can see.
 * `npm run checklist` makes `.github/security-checklist.md` of the names in brackets; other files of this folder, and
 * the files that `checklist.json` names, prove the rest.
 */
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import {
  createSessions,
  memoryStore,
  type SessionEvents,
  type SessionOptions,
  type Sessions,
} from "../../src/index.ts";
import { resolveOptions } from "../../src/options.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { type Answer, Browser, readSetCookie } from "../support/browser.ts";
import { Client, fakeExchange } from "../support/exchange.ts";
import { type Framework, frameworks, type Routes } from "../support/frameworks.ts";
import type { RunningApp } from "../support/listen.ts";
import { probeStore } from "../support/probe-store.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const secret = "a secret of at least thirty-two characters";

function setUp(options: Partial<SessionOptions> = {}) {
  const store = probeStore(memoryStore());
  const sessions = createSessions({ secret, store, ...options });
  return { store, sessions };
}

/** The attributes of a new session's cookie, in lower case. */
async function cookieOf(
  options: Partial<SessionOptions>,
): Promise<{ name: string; value: string; attributes: string[] }> {
  const exchange = fakeExchange(undefined, true);
  const visit = setUp(options).sessions.visit(exchange);
  Object.assign(await visit.load(), { user: "ada" });
  await visit.commit();
  const { attributes, ...cookie } = readSetCookie(exchange.setCookies[0] ?? "");
  return { ...cookie, attributes: attributes.map((attribute) => attribute.toLowerCase()) };
}

/** Who an anonymous request with this cookie turns out to be. */
async function userOf(sessions: Sessions, cookie: string | undefined): Promise<unknown> {
  return (await new Client(sessions, cookie).arrive()).session.user;
}

async function loggedIn(sessions: Sessions): Promise<Client> {
  const client = new Client(sessions);
  await client.request((session) => Object.assign(session, { cart: ["a book"] }));
  await client.request(async (session) => {
    await session.renew();
    session.user = "ada";
  });
  return client;
}

describe("the session id", () => {
  it("[ASVS5 7.2.3] has 192 random bits of the system's generator, and no two are alike", async () => {
    const { sessions } = setUp();
    const secrets = await Promise.all(
      Array.from({ length: 500 }, async () => (await signIn(sessions, { user: "ada" })).cookie.slice(4).split(".")[0]),
    );
    expect(new Set(secrets).size).toBe(500);
    for (const one of secrets) expect(Buffer.from(one ?? "", "base64url").byteLength).toBe(24);
    const source = readFileSync(new URL("../../src/id.ts", import.meta.url), "utf8");
    expect(source).toContain("randomBytes(secretBytes)");
    expect(source).not.toContain("Math.random");
  });

  it("[ASVS5 7.2.1] is worth nothing without the store's record, whoever signed it", async () => {
    const [one, other] = [setUp(), setUp()];
    const client = await loggedIn(one.sessions);
    expect(await userOf(one.sessions, client.cookie)).toBe("ada");
    expect(await userOf(other.sessions, client.cookie)).toBeUndefined();
  });

  it("[CS strict session management] that nobody knows is never adopted, signed or not", async () => {
    const { sessions, store } = setUp();
    const stranger = await loggedIn(setUp().sessions);
    const planted = ["sid=planted-by-somebody", `sid=${"a".repeat(32)}.${"b".repeat(43)}`, stranger.cookie];
    for (const cookie of planted) {
      const client = new Client(sessions, cookie);
      await client.request((session) => Object.assign(session, { user: "ada" }));
      expect(client.cookie).not.toBe(cookie);
      expect(await userOf(sessions, cookie)).toBeUndefined();
    }
    expect(store.count("write")).toBe(planted.length);
  });

  it("[CS id as input] is checked for length, alphabet and signature before the store is asked", async () => {
    const { sessions, store } = setUp();
    const wrong = [
      "",
      "x".repeat(15_000),
      "../../etc/passwd",
      "'; DROP TABLE sessions; --",
      "%00".repeat(10),
      "a.b",
      "{}",
    ];
    for (const value of wrong) expect(await userOf(sessions, `sid=${value}`)).toBeUndefined();
    expect(store.calls).toEqual([]);
  });

  it("[ASVS5 3.3.5] stays, name and all, far below 4096 bytes, with the longest id that genId may give", async () => {
    const { name, value } = await cookieOf({ cookie: { name: "n".repeat(64) }, genId: longestId() });
    expect(`${name}=${value}`.length).toBeLessThan(300);
    await expect(cookieOf({ genId: () => "x".repeat(4000) })).rejects.toMatchObject({ code: "ERR_SESSION_ID" });
  });
});

let made = 0;

/** 128 characters, a new one each time. */
function longestId(): () => string {
  return () => `${made++}`.padEnd(128, "x");
}

describe("the cookie", () => {
  it("[ASVS5 3.3.4] is HttpOnly, and says nothing but the secret and its signature", async () => {
    const { attributes, value } = await cookieOf({});
    expect(attributes).toContain("httponly");
    expect(value).toMatch(/^[A-Za-z0-9_-]{32}\.[A-Za-z0-9+/]{43}$/);
  });

  it("[ASVS5 3.3.1] is Secure over HTTPS, and always in production", async () => {
    expect((await cookieOf({})).attributes).toContain("secure");
    vi.stubEnv("NODE_ENV", "production");
    onTestFinished(() => void vi.unstubAllEnvs());
    expect((await cookieOf({})).attributes).toContain("secure");
    expect(resolveOptions({ secret }).cookie.secure).toBe(true);
  });

  it("[ASVS5 3.3.2] is SameSite=Lax unless told otherwise, and never None without Secure", async () => {
    expect((await cookieOf({})).attributes).toContain("samesite=lax");
    expect((await cookieOf({ cookie: { sameSite: "strict" } })).attributes).toContain("samesite=strict");
    expect(() => setUp({ cookie: { sameSite: "none", secure: false } })).toThrow("sameSite");
  });

  it("[ASVS5 3.3.3] has the __Host- prefix where it may, and never one that browsers would refuse", async () => {
    expect((await cookieOf({ cookie: { secure: true } })).name).toBe("__Host-sid");
    expect(() => setUp({ cookie: { name: "__Host-id", domain: "example.org", secure: true } })).toThrow("__Host-");
    expect(() => setUp({ cookie: { name: "__Host-id", secure: false } })).toThrow("__Host-id");
  });

  it("[CS name fingerprinting] has a name that tells neither language, framework nor library", async () => {
    const names = [(await cookieOf({})).name, (await cookieOf({ cookie: { secure: true } })).name];
    expect(names).toEqual(["sid", "__Host-sid"]);
  });

  it("[CS Domain and Path] is for this host alone, and ends with the browser unless asked to stay", async () => {
    const { attributes } = await cookieOf({});
    expect(attributes.filter((attribute) => /^(domain|expires|max-age)/.test(attribute))).toEqual([]);
    expect(attributes).toContain("path=/");
    expect((await cookieOf({ cookie: { path: "/shop" } })).attributes).toContain("path=/shop");
  });
});

const routes: Routes = {
  "/": ({ session }) => ({ user: session.user ?? null }),
  "/login": async ({ session, query }) => {
    await session.renew();
    session.user = query.get("user");
    return { redirect: "/" };
  },
  "/visit": ({ session }) => {
    session.visits = Number(session.visits ?? 0) + 1;
    return "hello";
  },
  "/logout": ({ session }) => session.destroy().then(() => "bye"),
};

async function started(framework: Framework, sessions: Sessions): Promise<RunningApp> {
  const app = await framework.start(sessions, routes);
  onTestFinished(() => app.close());
  return app;
}

describe.each(frameworks)("in $name", (framework) => {
  it("[ASVS4 3.1.1] the id is taken from the cookie and from nowhere else, and sent in Set-Cookie alone", async () => {
    const app = await started(framework, setUp().sessions);
    const browser = new Browser(app.url);
    const login = await browser.get("/login?user=ada");
    const value = browser.cookies.get("sid") ?? "";
    const [id = ""] = value.split(".");
    const rest = ({ headers, text }: Answer): string =>
      JSON.stringify([...headers].filter(([name]) => name !== "set-cookie")) + text;
    for (const answer of [login, await browser.get("/"), await browser.get("/visit")]) {
      expect(rest(answer)).not.toContain(id);
    }
    const elsewhere = new Browser(app.url);
    for (const path of [`/?sid=${value}`, `/?sessionId=${id}`, `/;sid=${value}`, "/"]) {
      const headers = { authorization: `Bearer ${value}`, "x-session-id": value, sid: value };
      const answer = await elsewhere.get(path, { headers });
      // A path with a parameter is no route of the app.
      expect(path.startsWith("/;") ? [204, 404] : [200, 204]).toContain(answer.status);
      expect(answer.text).not.toContain('"user":"ada"');
    }
  });

  it("[ASVS5 7.2.4] a login gets a new id, and the old one is dead as soon as it is answered", async () => {
    const app = await started(framework, setUp().sessions);
    const victim = new Browser(app.url);
    await victim.get("/visit");
    const attacker = victim.at(app.url);
    const before = victim.cookies.get("sid");
    await victim.get("/login?user=ada");
    expect(victim.cookies.get("sid")).not.toBe(before);
    expect((await victim.get("/")).json()).toEqual({ user: "ada" });
    expect((await attacker.get("/")).json()).toEqual({ user: null });
    const first = victim.at(app.url);
    await victim.get("/login?user=grace");
    expect((await first.get("/")).json()).toEqual({ user: null });
    expect((await victim.get("/")).json()).toEqual({ user: "grace" });
  });

  it("[ASVS5 7.4.1] a logout ends the session for good: no replay, no late save brings it back", async () => {
    const { sessions, store } = setUp();
    const app = await started(framework, sessions);
    const browser = new Browser(app.url);
    await browser.get("/login?user=ada");
    const kept = browser.at(app.url);
    const late = browser.at(app.url);
    const hold = store.hold("write");
    const slow = late.get("/visit");
    await hold.reached;
    await browser.get("/logout");
    hold.release();
    const answer = await slow;
    expect(answer.setCookies).toEqual([]);
    expect((await kept.get("/")).json()).toEqual({ user: null });
    expect((await late.get("/")).json()).toEqual({ user: null });
  });

  it("[CS session expiration] a logout clears the cookie, under the attributes that it was set with", async () => {
    const app = await started(framework, setUp({ cookie: { path: "/" } }).sessions);
    const browser = new Browser(app.url);
    await browser.get("/login?user=ada");
    const answer = await browser.get("/logout");
    expect(answer.setCookies[0]).toMatch(/^sid=; Max-Age=0; Path=\/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly/);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(browser.cookies.size).toBe(0);
  });

  it("[ASVS5 7.6.2] who only looks gets no session: no record, no cookie, no store call", async () => {
    const { sessions, store } = setUp();
    const app = await started(framework, sessions);
    for (const path of ["/", "/logout"]) {
      const answer = await new Browser(app.url).get(path);
      expect(answer.status).toBe(200);
      expect(answer.setCookies).toEqual([]);
    }
    expect(store.calls).toEqual([]);
  });
});

describe("in the store", () => {
  let redis: RedisServer;
  let client: Redis;

  beforeAll(async () => {
    redis = await startRedis();
    client = new Redis(redis.port, "127.0.0.1");
  });
  afterAll(async () => {
    client?.disconnect();
    await redis?.stop();
  });

  it("[CS repository protection] nothing is a cookie: keys and values of Redis have no id that a browser could send", async () => {
    const sessions = createSessions({ secret, store: redisStore(client), renewalTimeout: 1 });
    const users = [await loggedIn(sessions), await loggedIn(sessions)];
    await users[0]?.request((session) => expect(session.user).toBe("ada"));
    const keys = await client.keys("*");
    expect(keys.length).toBeGreaterThan(2);
    const dump = (await Promise.all(keys.map(async (key) => `${key} ${await client.getBuffer(key)}`))).join("\n");
    expect(dump).toContain('"user":"ada"');
    for (const { cookie } of users) {
      const value = cookie?.slice("sid=".length) ?? "";
      expect(value.length).toBe(76);
      for (const part of [value, ...value.split(".")]) expect(dump).not.toContain(part);
    }
    // What does stand there is no cookie either.
    for (const word of dump.match(/[\w-]{32,}/g) ?? []) expect(await userOf(sessions, `sid=${word}`)).toBeUndefined();
  });

  it.each(frameworks)(
    "[ASVS5 7.4.5] everybody's sessions end when the nodes start with a new secret; who logs in anew is in ($name)",
    async (framework) => {
      await client.flushall();
      const principal = (data: Record<string, unknown>) => data["user"] as string | undefined;
      const startedWith = async (keys: string | string[]) => {
        const sessions = createSessions({ secret: keys, store: redisStore(client), principal });
        return { sessions, ...(await started(framework, sessions)) };
      };
      const users = ["ada", "grace", "joan"];
      const before = await startedWith(secret);
      const browsers = users.map(() => new Browser(before.url));
      await Promise.all(browsers.map((browser, at) => browser.get(`/login?user=${users[at]}`)));
      const seenAt = (url: string): Promise<unknown[]> =>
        Promise.all(browsers.map(async (browser) => (await browser.at(url).get("/")).json<{ user: unknown }>().user));
      expect(await seenAt(before.url)).toEqual(users);
      // A key that is only moved down the list ends nobody's.
      expect(await seenAt((await startedWith(["a newer secret of thirty-two characters", secret])).url)).toEqual(users);

      const after = await startedWith("another secret of thirty-two characters");
      expect(await seenAt(after.url)).toEqual([null, null, null]);
      const again = browsers[0]?.at(after.url);
      await again?.get("/login?user=ada");
      expect((await again?.get("/"))?.json()).toEqual({ user: "ada" });
      expect(await seenAt(after.url)).toEqual([null, null, null]);
      // The records of before wait for their deadline, as the guide says.
      expect(await after.sessions.list("ada")).toHaveLength(2);
    },
  );
});

describe("what is told", () => {
  it("[CS logging] is each step of a session's life, under public ids that only a hash leads to", async () => {
    const { sessions } = setUp();
    const told: string[] = [];
    const names: (keyof SessionEvents)[] = ["created", "saved", "renewed", "destroyed", "gone", "rejected"];
    for (const name of names) sessions.on(name, (event) => told.push(`${name} ${JSON.stringify(event)}`));
    const client = await loggedIn(sessions);
    const late = await client.twin().arrive();
    const cookies = [client.cookie];
    const { id } = (await client.arrive()).session;
    await client.request((session) => session.destroy());
    late.session.note = "too late";
    await late.visit.commit();
    await new Client(sessions, "sid=nonsense").request((session) => expect(session.isNew).toBe(true));
    expect(told.map((line) => line.split(" ")[0])).toEqual(
      expect.arrayContaining(["created", "renewed", "saved", "destroyed", "gone", "rejected"]),
    );
    expect(told.find((line) => line.startsWith("destroyed"))).toContain(id);
    for (const cookie of cookies) expect(told.join("\n")).not.toContain(cookie?.slice(4).split(".")[0]);
  });

  it("[ASVS5 7.1.1] are the time-outs: the README's defaults are those of the code", () => {
    const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
    const { ttlMs, absoluteTimeoutMs, renewalTimeoutMs, renewalGraceMs } = resolveOptions({ secret });
    const days = (ms: number | null): string => `"${Number(ms) / 86_400_000}d"`;
    expect(readme).toContain(`| \`ttl\` | \`${days(ttlMs)}\` |`);
    expect(readme).toContain(`| \`absoluteTimeout\` | \`${days(absoluteTimeoutMs)}\` |`);
    expect(readme).toContain(`| \`renewalTimeout\`, \`renewalGrace\` | none, \`"${renewalGraceMs / 1000}s"\` |`);
    expect(renewalTimeoutMs).toBeNull();
  });
});
