/** A redirect never overtakes its save, however fast the browser and however slow the writing node's store. */
import { get } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createSessions } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { Browser, readSetCookie } from "../support/browser.ts";
import { tally, times } from "../support/counts.ts";
import { frameworks, type Routes } from "../support/frameworks.ts";
import { probeStore } from "../support/probe-store.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const secret = "a secret of the tests of redirects, long enough";
const rounds = times(200, 1000);
const browsers = 20;
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.stop();
});

const routes: Routes = {
  "/write": ({ session, query }) => {
    session.value = query.get("value");
    return { redirect: "/read" };
  },
  "/read": ({ session }) => ({ value: session.value ?? null }),
};

/** Requests `url`; `onHead` is called when the head is there, before a byte of the body is read. */
function request<T>(
  url: string,
  cookie: string,
  onHead: (status: number, setCookies: string[]) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { cookie } }, (response) => {
      onHead(response.statusCode ?? 0, response.headers["set-cookie"] ?? []).then(resolve, reject);
      response.resume();
    }).on("error", reject);
  });
}

describe.each(frameworks.map((framework) => [framework.name, framework] as const))("with %s", (_, framework) => {
  it.each([
    ["of an existing session", false],
    ["that begins a session", true],
  ])(
    `${rounds} redirects %s, with a 20 ms slower store on the writing node: none is stale on the other`,
    async (_what, isFresh) => {
      const slow = probeStore(redisStore(redis.url));
      slow.delayMs.write = 20;
      const engines = [
        createSessions({ secret, store: slow, storeTimeout: "10s" }),
        createSessions({ secret, store: redisStore(redis.url), storeTimeout: "10s" }),
      ];
      const apps = await Promise.all(engines.map((engine) => framework.start(engine, routes)));
      const [writing = "", reading = ""] = apps.map(({ url }) => url);
      const stale: string[] = [];
      let count = 0;
      const oneUser = async (user: number): Promise<void> => {
        const browser = new Browser(reading);
        if (!isFresh) await browser.get("/write?value=first");
        let cookie = browser.cookieHeader ?? "";
        for (let round = 0; round < rounds / browsers; round++) {
          const value = `${user}-${round}`;
          const read = await request(`${writing}/write?value=${value}`, isFresh ? "" : cookie, (status, setCookies) => {
            expect(status).toBe(302);
            const [line] = setCookies;
            if (line !== undefined) cookie = `${readSetCookie(line).name}=${readSetCookie(line).value}`;
            return fetch(`${reading}/read`, { headers: { cookie } }).then((answer) => answer.text());
          });
          count += 1;
          if (read !== JSON.stringify({ value })) stale.push(`${value}: ${read}`);
        }
      };
      await Promise.all(Array.from({ length: browsers }, (_, user) => oneUser(user)));
      expect([count, stale]).toEqual([rounds, []]);
      tally("T4", "redirects, none stale", count);
      for (const app of apps) await app.close();
      for (const engine of engines) await engine.close();
    },
  );
});
