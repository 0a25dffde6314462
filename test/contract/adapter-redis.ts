/** Rows of the adapter contract on a real redis-server: the store that people use, with its commands counted. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { redisStore } from "../../src/stores/redis.ts";
import { Browser } from "../support/browser.ts";
import { type ProbeStore, probeStore } from "../support/probe-store.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import type { AdapterDriver } from "./adapter.ts";
import { type Bench, bench, dataOf, signedIn } from "./adapter-kit.ts";

/** The core of the contract, on Redis. */
export function redisRows(driver: AdapterDriver): void {
  describe("on a real Redis", () => {
    let redis: RedisServer;
    let shared: ProbeStore;
    beforeAll(async () => {
      redis = await startRedis();
      shared = probeStore(redisStore(redis.url));
    });
    afterAll(async () => {
      await shared.close?.();
      await redis.stop();
    });
    // Each engine closes its store when its test ends; this one serves them all.
    const open = (plan: Parameters<typeof bench>[1] = {}): Promise<Bench> =>
      bench(driver, { ...plan, store: { ...shared, close: async () => {} } });

    it("a session lives through write, read, change and logout; no key is left without a TTL", async () => {
      const app = await open();
      const { id } = await signedIn(app);
      await app.browser.get("/set?theme=dark");
      expect(await dataOf(app.browser)).toEqual({ id, isNew: false, data: { user: "ada", theme: "dark" } });
      await app.browser.get("/logout");
      expect(await app.sessions.get(id)).toBeUndefined();
      expect(await dataOf(app.browser)).toMatchObject({ isNew: true, data: {} });
    });

    it("no command for a request without a cookie, one for a read, two for a change", async () => {
      const app = await open();
      await signedIn(app);
      const monitor = await redis.monitor();
      const commands = async (request: () => Promise<unknown>): Promise<number> => {
        await monitor.flush();
        const before = own(monitor.lines).length;
        await request();
        await monitor.flush();
        return own(monitor.lines).length - before;
      };
      expect(await commands(() => new Browser(app.url).get("/data"))).toBe(0);
      expect(await commands(() => app.browser.get("/data"))).toBe(1);
      expect(await commands(() => app.browser.get("/set?theme=light"))).toBe(2);
      await monitor.stop();
    });

    it("25 parallel requests that write keys of their own lose none", async () => {
      const app = await open();
      await signedIn(app);
      const numbers = Array.from({ length: 25 }, (_, index) => index);
      const answers = await Promise.all(numbers.map((n) => app.browser.get(`/set?key${n}=${n}`)));
      expect(answers.map((answer) => answer.status)).toEqual(numbers.map(() => 200));
      const expected = Object.fromEntries(numbers.map((n) => [`key${n}`, String(n)]));
      expect((await dataOf(app.browser)).data).toEqual({ user: "ada", ...expected });
    });

    it("a Redis that is gone is a 503 within the store's time, and the cookie survives it", async () => {
      const app = await open();
      const { id } = await signedIn(app);
      await redis.pause();
      try {
        const answer = await app.browser.get("/data");
        expect([answer.status, answer.setCookies]).toEqual([503, []]);
      } finally {
        redis.resume();
      }
      await expect.poll(async () => (await app.browser.get("/data")).status).toBe(200);
      expect(await dataOf(app.browser)).toMatchObject({ id, data: { user: "ada" } });
    });
  });
}

/** Commands of our own connections: what scripts ran inside, and the test's own pings, don't count. */
function own(lines: readonly string[]): string[] {
  return lines.filter((line) => !/ lua\]|"(ping|echo|monitor|hello|client|info|time|script)"/i.test(line));
}
