/** Lifetimes to the millisecond, from the record and not from Redis's TTL; over HTTP, with a clock moved by hand. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { createSessions, type SessionOptions } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { type ManualClock, manualClock } from "../../src/testing/manual-clock.ts";
import { Browser } from "../support/browser.ts";
import { type Framework, frameworks, type Routes } from "../support/frameworks.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const secret = "a secret of the tests of expiry, long enough";
const ttl = 60_000;
const absoluteTimeout = 150_000;
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.stop();
});

const routes: Routes = {
  "/begin": ({ session }) => {
    session.user = "alice";
    return { id: session.id };
  },
  "/data": ({ session }) => ({ ...session }),
  "/set": ({ session, query }) => {
    session.mark = query.get("mark");
    return { expiresAt: session.expiresAt, absoluteExpiresAt: session.absoluteExpiresAt };
  },
  "/times": ({ session }) => ({ expiresAt: session.expiresAt, absoluteExpiresAt: session.absoluteExpiresAt }),
  "/renew": async ({ session }) => {
    await session.renew();
    return "in";
  },
};

/** One node; without a clock it has Redis's. */
async function node(framework: Framework, clock?: ManualClock, options: Partial<SessionOptions> = {}): Promise<string> {
  const store = redisStore(redis.url, clock ? { clock: clock.now } : {});
  const sessions = createSessions({ secret, store, ttl, absoluteTimeout, touchInterval: 0, ...options });
  const app = await framework.start(sessions, routes);
  onTestFinished(async () => {
    await app.close();
    await sessions.close();
  });
  return app.url;
}

describe.each(frameworks.map((framework) => [framework.name, framework] as const))("with %s", (_, framework) => {
  it("the idle deadline: alive one millisecond before it, dead at it; activity at another node moves it", async () => {
    const clock = manualClock();
    const urls = [await node(framework, clock), await node(framework, clock)];
    const browser = new Browser(urls[0] ?? "");
    await browser.get("/begin");
    const other = browser.at(urls[1] ?? "");
    clock.advance(ttl - 1);
    expect((await other.get("/set?mark=1")).json().expiresAt).toBe(clock.now() + 1);
    clock.advance(ttl - 1);
    expect((await browser.get("/data")).json()).toEqual({ user: "alice", mark: "1" });
    const { expiresAt } = (await browser.get("/set?mark=2")).json<{ expiresAt: number }>();
    expect(expiresAt).toBeGreaterThan(clock.now());
    clock.advance(ttl);
    expect((await browser.get("/data")).json()).toEqual({});
    const dead = await other.get("/data");
    expect([dead.json(), dead.setCookies]).toEqual([{}, []]);
  });

  it("the absolute deadline ends an active session, whatever is written or touched; a login starts it anew", async () => {
    const clock = manualClock();
    const browser = new Browser(await node(framework, clock));
    const start = clock.now();
    await browser.get("/begin");
    const renewed = new Browser(browser.url);
    await renewed.get("/begin");
    for (const mark of [1, 2]) {
      clock.advance(50_000);
      await browser.get(`/set?mark=${mark}`);
      await renewed.get(mark === 1 ? "/data" : "/renew");
    }
    expect((await browser.get("/times")).json().absoluteExpiresAt).toBe(start + absoluteTimeout);
    clock.advance(49_999);
    expect((await browser.get("/data")).json()).toEqual({ user: "alice", mark: "2" });
    clock.advance(1);
    expect((await browser.get("/data")).json()).toEqual({});
    expect((await renewed.get("/data")).json()).toEqual({ user: "alice" });
  });

  it("a key that lost its TTL (PERSIST) is dead all the same, and a write begins another session", async () => {
    const clock = manualClock();
    const browser = new Browser(await node(framework, clock));
    const { id } = (await browser.get("/begin")).json<{ id: string }>();
    expect(await redis.command("PERSIST", `holdfast:${id}`)).toBe(":1");
    clock.advance(ttl);
    expect((await browser.get("/data")).json()).toEqual({});
    expect(await redis.command("EXISTS", `holdfast:${id}`)).toBe(":1");
    const again = await browser.get("/begin");
    expect([again.status, again.setCookies.length]).toEqual([200, 1]);
    expect(again.json().id).not.toBe(id);
    await redis.command("DEL", `holdfast:${id}`);
  });

  it("a node whose clock is five minutes off neither ends a session nor keeps one alive", async () => {
    const right = new Browser(await node(framework));
    await right.get("/begin");
    const { expiresAt } = (await right.get("/times")).json<{ expiresAt: number }>();
    const real = Date.now;
    for (const skew of [-300_000, 300_000]) {
      vi.spyOn(Date, "now").mockImplementation(() => real() + skew);
      const wrong = right.at(await node(framework));
      expect((await wrong.get("/data")).json()).toMatchObject({ user: "alice" });
      const told = (await wrong.get(`/set?mark=${skew}`)).json<{ expiresAt: number }>();
      expect(Math.abs(told.expiresAt - expiresAt)).toBeLessThan(10_000);
      vi.restoreAllMocks();
      expect((await right.get("/data")).json()).toEqual({ user: "alice", mark: String(skew) });
    }
  });
});
