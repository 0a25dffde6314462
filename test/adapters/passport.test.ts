/** Passport, unpatched: passport with Express, koa-passport with Koa, @fastify/passport with Fastify, and all three as one. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { createSessions, memoryStore, type Sessions } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { Browser } from "../support/browser.ts";
import type { RunningApp } from "../support/listen.ts";
import { expressApp, fastifyApp, koaApp, type Me } from "../support/passport-apps.ts";
import { type ProbeStore, probeStore } from "../support/probe-store.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const secret = "the Passport tests' signing key, long enough now";

const frameworks = {
  Express: expressApp,
  Koa: koaApp,
  Fastify: (sessions: Sessions): Promise<RunningApp> => fastifyApp(sessions),
};
const names = Object.keys(frameworks);

/** One framework's app on a store of its own. */
async function bench(
  start: (sessions: Sessions) => Promise<RunningApp>,
): Promise<{ browser: Browser; store: ProbeStore }> {
  const store = probeStore(memoryStore());
  const sessions = createSessions({ secret, store });
  const app = await start(sessions);
  onTestFinished(async () => {
    await app.close();
    await sessions.close();
  });
  return { browser: new Browser(app.url), store };
}

/** A browser for each framework with one cookie jar, as of one host: cookies ignore ports. */
class Jar {
  readonly #browsers: Map<string, Browser>;
  #cookies: Map<string, string> = new Map();

  constructor(apps: Record<string, RunningApp>) {
    this.#browsers = new Map(Object.entries(apps).map(([name, app]) => [name, new Browser(app.url)]));
  }

  get cookie(): string | undefined {
    return this.#cookies.get("sid");
  }

  async get<T = Me>(name: string, path: string): Promise<T> {
    const browser = this.#browsers.get(name);
    if (browser === undefined) throw new Error(`no app named ${name}`);
    browser.cookies.clear();
    for (const [key, value] of this.#cookies) browser.cookies.set(key, value);
    const answer = await browser.get(path);
    expect(answer.status, answer.text).toBe(200);
    this.#cookies = new Map(browser.cookies);
    return answer.json<T>();
  }
}

async function me(browser: Browser, path = "/me", cookie?: string): Promise<Me> {
  return (await browser.get(path, cookie === undefined ? {} : { headers: { cookie: `sid=${cookie}` } })).json<Me>();
}

describe.each(Object.entries(frameworks))("%s with Passport", (_name, start) => {
  it("a login gives the session another id, and the cookie from before is dead", async () => {
    const { browser } = await bench(start);
    const before = await me(browser, "/cart?item=tea");
    const oldCookie = browser.cookies.get("sid");
    const after = await me(browser, "/login?user=ada");
    expect(after).toMatchObject({ user: "ada", cart: null });
    expect(after.id).not.toBe(before.id);
    expect(browser.cookies.get("sid")).not.toBe(oldCookie);
    expect(await me(browser)).toMatchObject({ user: "ada", id: after.id });
    expect(await me(browser, "/me", oldCookie)).toMatchObject({ user: null, cart: null, keys: [] });
  });

  it("a login with keepSessionInfo carries the data over to the new id", async () => {
    const { browser } = await bench(start);
    const before = await me(browser, "/cart?item=tea");
    const after = await me(browser, "/login?user=ada&keep=1");
    expect(after).toMatchObject({ user: "ada", cart: "tea" });
    expect(after.id).not.toBe(before.id);
    expect(await me(browser)).toMatchObject({ user: "ada", cart: "tea", id: after.id });
  });

  it("a login by somebody else in the same browser is that user, and nothing of the first", async () => {
    const { browser } = await bench(start);
    await me(browser, "/login?user=ada");
    await me(browser, "/cart?item=tea");
    await me(browser, "/login?user=grace");
    expect(await me(browser)).toMatchObject({ user: "grace", cart: null });
  });

  it("a login that is refused changes nothing", async () => {
    const { browser } = await bench(start);
    await me(browser, "/cart?item=tea");
    const cookie = browser.cookies.get("sid");
    expect((await browser.get("/login?user=nobody")).status).toBe(401);
    expect(browser.cookies.get("sid")).toBe(cookie);
    expect(await me(browser)).toMatchObject({ user: null, cart: "tea" });
  });

  it("a logout ends the session: the cookie from before is anonymous, and the browser's is cleared", async () => {
    const { browser } = await bench(start);
    await me(browser, "/login?user=ada");
    await me(browser, "/cart?item=tea");
    const oldCookie = browser.cookies.get("sid");
    expect(await me(browser, "/logout")).toMatchObject({ user: null, cart: null });
    expect(browser.cookies.get("sid")).not.toBe(oldCookie);
    expect(await me(browser)).toMatchObject({ user: null, cart: null });
    expect(await me(browser, "/me", oldCookie)).toMatchObject({ user: null, cart: null, keys: [] });
  });

  it("flash messages are heard once", async () => {
    const { browser } = await bench(start);
    await browser.get("/say?text=hello");
    await browser.get("/say?text=again");
    expect((await browser.get("/heard")).json()).toEqual(["hello", "again"]);
    expect((await browser.get("/heard")).json()).toEqual([]);
  });

  it("a login costs at most three store commands, one without a session before", async () => {
    const { browser, store } = await bench(start);
    await me(browser, "/login?user=ada");
    expect(store.calls.map(({ verb }) => verb)).toEqual(["write"]);
    store.forget();
    await me(browser, "/login?user=grace");
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read", "remove", "write"]);
  });
});

// @fastify/passport has no such option.
it.each(["Express", "Koa"] as const)(
  "%s: a logout with keepSessionInfo keeps the rest under a new id",
  async (name) => {
    const { browser } = await bench(frameworks[name]);
    await me(browser, "/login?user=ada");
    const before = await me(browser, "/cart?item=tea");
    const after = await me(browser, "/logout?keep=1");
    expect(after).toMatchObject({ user: null, cart: "tea" });
    expect(after.id).not.toBe(before.id);
    expect(await me(browser)).toMatchObject({ user: null, cart: "tea" });
  },
);

describe("Express, Koa and Fastify on one Redis", () => {
  let redis: RedisServer;
  const apps: Record<string, RunningApp> = {};
  const close: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    redis = await startRedis();
    // Three nodes: each its own connection and engine.
    for (const [name, start] of Object.entries(frameworks)) {
      const sessions = createSessions({ secret, store: redisStore(redis.url) });
      const app = await start(sessions);
      apps[name] = app;
      close.push(
        () => app.close(),
        () => sessions.close(),
      );
    }
  });

  afterAll(async () => {
    for (const step of close) await step();
    await redis.stop();
  });

  const pairs = names.flatMap((first) =>
    names.filter((second) => second !== first).map((second) => [first, second] as const),
  );

  it.each(names)("a login through %s is the same user on all, and so is a change", async (first) => {
    const jar = new Jar(apps);
    const { id } = await jar.get(first, "/login?user=ada");
    for (const name of names) {
      expect(await jar.get(name, "/me")).toMatchObject({ user: "ada", id });
      await jar.get(name, `/cart?item=${name}`);
    }
    expect(await jar.get(first, "/me")).toMatchObject({ user: "ada", id, cart: names.at(-1) });
  });

  it.each(pairs)("a login through %s is ended by a logout through %s, on all", async (first, second) => {
    const jar = new Jar(apps);
    await jar.get(first, "/login?user=ada");
    const { cookie } = jar;
    expect(await jar.get(second, "/logout")).toMatchObject({ user: null });
    for (const name of names) {
      expect(await jar.get(name, "/me")).toMatchObject({ user: null, keys: [] });
      const stale = new Browser((apps[name] as RunningApp).url);
      stale.cookies.set("sid", cookie ?? "");
      expect(await me(stale)).toMatchObject({ user: null, keys: [] });
    }
  });

  it.each(pairs)("a login through %s with the data of a session begun through %s keeps them", async (first, second) => {
    const jar = new Jar(apps);
    await jar.get(second, "/login?user=grace");
    await jar.get(second, "/cart?item=tea");
    await jar.get(first, "/login?user=ada&keep=1");
    for (const name of names) expect(await jar.get(name, "/me")).toMatchObject({ user: "ada", cart: "tea" });
  });

  it.each(["Express", "Koa"])(
    "a logout through %s that keeps the rest is anonymous on all, and ends nothing",
    async (first) => {
      const jar = new Jar(apps);
      await jar.get(first, "/login?user=ada");
      await jar.get(first, "/cart?item=tea");
      const { id } = await jar.get(first, "/logout?keep=1");
      for (const name of ["Fastify", ...names]) {
        expect(await jar.get(name, "/me")).toMatchObject({ user: null, cart: "tea", id });
      }
      expect(await jar.get("Fastify", "/login?user=grace&keep=1")).toMatchObject({ user: "grace", cart: "tea" });
      expect(await jar.get(first, "/me")).toMatchObject({ user: "grace", cart: "tea" });
    },
  );

  it.each(pairs)("a flash message from %s is heard on %s, once", async (first, second) => {
    const jar = new Jar(apps);
    await jar.get(first, "/say?text=hello");
    expect(await jar.get<string[]>(second, "/heard")).toEqual(["hello"]);
    for (const name of names) expect(await jar.get<string[]>(name, "/heard")).toEqual([]);
  });

  it.each(names)("a login through %s is at most three Redis commands, and none of them has a secret", async (name) => {
    const jar = new Jar(apps);
    await jar.get(name, "/cart?item=tea");
    const secrets = [jar.cookie];
    // Scripts are loaded now, the clock is known.
    await jar.get(name, "/login?user=grace");
    secrets.push(jar.cookie);
    const monitor = await redis.monitor();
    await jar.get(name, "/login?user=ada");
    await monitor.stop();
    secrets.push(jar.cookie);
    const commands = monitor.lines.filter((line) => !line.includes("lua]"));
    expect(commands.length, commands.join("\n")).toBeGreaterThan(0);
    expect(commands.length, commands.join("\n")).toBeLessThanOrEqual(3);
    for (const cookie of secrets) expect(monitor.lines.join("\n")).not.toContain(cookie?.split(".")[0]);
  });

  it("@fastify/passport without the serializers logs out what Express stored, and Express does not see its users", async () => {
    const sessions = createSessions({ secret, store: memoryStore() });
    const pair = { Express: await expressApp(sessions), Fastify: await fastifyApp(sessions, false) };
    onTestFinished(async () => {
      await pair.Express.close();
      await pair.Fastify.close();
      await sessions.close();
    });
    const there = new Jar(pair);
    await there.get("Express", "/login?user=ada");
    expect(await there.get("Fastify", "/me")).toMatchObject({ user: null });
    expect(await there.get("Express", "/me")).toMatchObject({ user: null });
    const back = new Jar(pair);
    await back.get("Fastify", "/login?user=ada");
    expect(await back.get("Express", "/me")).toMatchObject({ user: null });
  });

  it("the deserializer reads what @fastify/passport stored before it was there", async () => {
    const sessions = createSessions({ secret, store: memoryStore() });
    const pair = { old: await fastifyApp(sessions, false), current: await fastifyApp(sessions) };
    onTestFinished(async () => {
      await pair.old.close();
      await pair.current.close();
      await sessions.close();
    });
    const jar = new Jar(pair);
    await jar.get("old", "/login?user=ada");
    expect(await jar.get("current", "/me")).toMatchObject({ user: "ada" });
  });
});
