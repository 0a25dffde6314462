/**
 * `commit: "background"` over HTTP, on one Redis: the response is there before the save, and on this node that shows in
 * nothing else. Saves wait at the store's door, so that no answer can have waited for one.
 */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { createSessions, type SessionEvents } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { Browser } from "../support/browser.ts";
import { type Deferred, deferred, until } from "../support/deferred.ts";
import { type Framework, frameworks, type Routes } from "../support/frameworks.ts";
import { probeStore } from "../support/probe-store.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const secret = "a secret of the tests of saves in the background";
const parallel = 20;
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.stop();
});

/** One node with a user who is signed in; `/late` writes when its door is opened, `/set` at once. */
async function setUp(framework: Framework) {
  const store = probeStore(redisStore(redis.url));
  const sessions = createSessions({ secret, store, commit: "background", storeTimeout: "20s" });
  const errors: SessionEvents["storeError"][] = [];
  sessions.on("storeError", (event) => void errors.push(event));
  const doors = new Map<string, Deferred<void>>();
  const written: string[] = [];
  const routes: Routes = {
    "/": ({ session }) => ({ ...session }),
    "/set": ({ session, query }) => {
      session.last = query.get("last");
      return "written";
    },
    "/late": async ({ session, query }) => {
      const last = String(query.get("last"));
      const door = deferred();
      doors.set(last, door);
      await door.promise;
      session.last = last;
      session[`key${last}`] = true;
      written.push(last);
      return "written";
    },
  };
  const app = await framework.start(sessions, routes);
  onTestFinished(async () => {
    await app.close();
    await sessions.close();
  });
  const browser = new Browser(app.url);
  await browser.get("/set?last=begun");
  store.forget();
  return { store, sessions, browser, doors, written, errors };
}

describe.each(frameworks)('commit: "background" in $name', (framework) => {
  it("answers while the save waits; the next request on this node reads what was answered", async () => {
    const { store, sessions, browser } = await setUp(framework);
    for (let round = 0; round < 10; round++) {
      const save = store.hold("write");
      expect((await browser.get(`/set?last=${round}`)).status).toBe(200);
      await save.reached;
      store.forget();
      const next = browser.get("/");
      await until(() => sessions.health().inFlight > 1, "it to arrive, beside the save");
      // The health check reads, too.
      expect(store.calls.filter(({ verb, key }) => verb === "read" && key !== "health")).toEqual([]);
      save.release();
      expect((await next).json()).toEqual({ last: String(round) });
    }
  });

  it(`stores ${parallel} parallel requests of one session in the order of their answers`, async () => {
    const { store, browser, doors, written } = await setUp(framework);
    const names = Array.from({ length: parallel }, (_, index) => String(index));
    const requests = names.map((name) => browser.at(browser.url).get(`/late?last=${name}`));
    await until(() => doors.size === parallel, "all to be in their handlers");
    const save = store.hold("write");
    for (const [index, request] of requests.entries()) {
      doors.get(String(index))?.resolve();
      // Each is answered before any is saved, and before the next one writes.
      expect((await request).status).toBe(200);
    }
    expect(written).toEqual(names);
    expect(store.calls.filter(({ settled, verb }) => settled && verb === "write")).toEqual([]);
    save.release();
    const keys = Object.fromEntries(names.map((name) => [`key${name}`, true]));
    expect((await browser.get("/")).json()).toEqual({ last: names.at(-1), ...keys });
  });

  it("tries a save that the store failed once more, when the response has gone", async () => {
    const { store, browser, errors } = await setUp(framework);
    store.failing.add("write");
    const save = store.hold("write");
    expect((await browser.get("/set?last=1")).status).toBe(200);
    await save.reached;
    const second = store.hold("write", save);
    await second.reached;
    store.failing.delete("write");
    second.release();
    await until(async () => (await browser.get("/")).json<{ last: string }>().last === "1", "the second save");
    expect(errors.map(({ operation }) => operation)).toEqual(["write"]);
  });
});
