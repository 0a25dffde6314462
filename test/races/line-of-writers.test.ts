/**
 * What the line of writers saves: forty parallel requests that change one session, on one node, counted by Redis. The
 * same without the line: as each engine has a line of its own, forty engines on one Redis are forty that don't wait for
 * each other, which is how forty requests of one node would save without it. Prints both figures.
 */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { createSessions } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { Browser } from "../support/browser.ts";
import { deferred } from "../support/deferred.ts";
import { Client } from "../support/exchange.ts";
import { frameworks } from "../support/frameworks.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const secret = "a secret of the tests of the line, long enough";
const writers = 40;
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.stop();
});

/** Scripts that Redis ran since the last `CONFIG RESETSTAT`: the store's writes. */
async function writes(): Promise<number> {
  const stats = await redis.command("INFO", "commandstats");
  return ["eval", "evalsha"].reduce(
    (sum, name) => sum + Number(new RegExp(`^cmdstat_${name}:calls=(\\d+)`, "m").exec(stats)?.[1] ?? 0),
    0,
  );
}

describe(`${writers} parallel requests that each change one session`, () => {
  it.each(frameworks.map((framework) => [framework.name, framework] as const))(
    "on one node with %s cost about a write each",
    async (_, framework) => {
      const sessions = createSessions({ secret, store: redisStore(redis.url), storeTimeout: "10s" });
      let inside = 0;
      const everybodyRead = deferred();
      const app = await framework.start(sessions, {
        "/begin": ({ session }) => {
          session.user = "alice";
          return "done";
        },
        "/data": ({ session }) => ({ ...session }),
        "/set": async ({ session, query }) => {
          if (++inside === writers) everybodyRead.resolve();
          await everybodyRead.promise;
          session[String(query.get("key"))] = true;
          return "done";
        },
      });
      onTestFinished(async () => {
        await app.close();
        await sessions.close();
      });
      const browser = new Browser(app.url);
      await browser.get("/begin");
      await redis.command("CONFIG", "RESETSTAT");
      const start = performance.now();
      const answers = await Promise.all(Array.from({ length: writers }, (_, n) => browser.get(`/set?key=k${n}`)));
      const ms = Math.round(performance.now() - start);
      expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
      const count = await writes();
      console.info(`${framework.name}, with the line: ${count} writes for ${writers} requests, ${ms} ms`);
      // A line that was empty for a moment has forgotten what was written last: that costs a refusal.
      expect(count).toBeGreaterThanOrEqual(writers);
      expect(count).toBeLessThan(1.25 * writers);
      expect(Object.keys((await browser.get("/data")).json())).toHaveLength(writers + 1);
    },
  );

  it("without the line cost several times as many, and lose nothing either", async () => {
    const store = redisStore(redis.url);
    const engines = Array.from({ length: writers }, () => createSessions({ secret, store, storeTimeout: "10s" }));
    onTestFinished(async () => {
      for (const engine of engines) await engine.close();
    });
    const [first] = engines;
    if (first === undefined) throw new Error("no engine");
    const owner = new Client(first);
    await owner.request((session) => {
      session.user = "alice";
    });
    const requests = await Promise.all(engines.map((engine) => new Client(engine, owner.cookie).arrive()));
    await redis.command("CONFIG", "RESETSTAT");
    const start = performance.now();
    await Promise.all(
      requests.map(({ session, visit }, n) => {
        session[`k${n}`] = true;
        return visit.commit();
      }),
    );
    const ms = Math.round(performance.now() - start);
    const count = await writes();
    console.info(`without the line: ${count} writes for ${writers} requests, ${ms} ms`);
    expect(count).toBeGreaterThan(3 * writers);
    await owner.request((session) => expect(Object.keys(session)).toHaveLength(writers + 1));
  });
});
