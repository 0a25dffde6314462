/**
 * Redis did what it was asked, and its answer never arrived: the write may have been applied. Over HTTP, with a proxy
 * before a real Redis that loses answers and connections on purpose.
 */
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { createSessions, type SessionEvents } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { Browser } from "../support/browser.ts";
import { until } from "../support/deferred.ts";
import { Client } from "../support/exchange.ts";
import { type Framework, frameworks, type Routes } from "../support/frameworks.ts";
import { probeStore } from "../support/probe-store.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { startProxy, type TcpProxy } from "../support/tcp-proxy.ts";

const secret = "a secret of the tests of lost answers, long enough";
/** As the URL form's own client, but sooner done with waiting for what was lost. */
const impatient = {
  commandTimeout: 150,
  socketTimeout: 2_000,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 1,
  retryStrategy: () => 20,
};
/** The code, on an error page of the app, or the message on the framework's own, as the response fails too. */
const unknownOutcome = /ERR_SESSION_UNKNOWN_OUTCOME|answer was lost/;
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.stop();
});

const routes: Routes = {
  "/begin": ({ session, query }) => {
    session.user = query.get("user");
    session.list = [];
    return { id: session.id };
  },
  "/data": ({ session }) => ({ ...session }),
  "/append": ({ session, query }) => {
    session.list = [...(session.list as string[]), query.get("item")]; // begun above
    return "appended";
  },
  "/set": ({ session, query }) => {
    session.name = query.get("name");
    return "set";
  },
  "/count": ({ session }) =>
    session.update((data) => {
      data.count = Number(data.count ?? 0) + 1;
      return { count: data.count };
    }),
  "/renew": async ({ session }) => {
    await session.renew();
    return { id: session.id };
  },
  "/regenerate": async (call) => {
    await call.session.regenerate(["user"]);
    return { id: call.session.id };
  },
  "/logout": async ({ session }) => {
    await session.destroy();
    return "bye";
  },
};

interface Bench {
  proxy: TcpProxy;
  /** At the node whose answers may be lost. */
  browser: Browser;
  /** A node with a sound connection. */
  sound: string;
  merges: (SessionEvents["merged"] | SessionEvents["conflict"])[];
  /** Told by the node that brought them about. */
  ends: SessionEvents["destroyed"][];
}

async function bench(framework: Framework): Promise<Bench> {
  const proxy = await startProxy(redis.port);
  const merges: Bench["merges"] = [];
  const ends: Bench["ends"] = [];
  const urls: string[] = [];
  const client = new Redis(proxy.port, impatient);
  client.on("error", () => {});
  onTestFinished(() => client.disconnect());
  for (const store of [redisStore(client), redisStore(redis.url)]) {
    const sessions = createSessions({ secret, store, storeTimeout: "5s" });
    sessions.on("merged", (event) => void merges.push(event));
    sessions.on("conflict", (event) => void merges.push(event));
    // What a node hears of the other's ends is another matter (test/races/events.test.ts).
    sessions.on("destroyed", (event) => void (event.isRemote === true || ends.push(event)));
    const app = await framework.start(sessions, routes);
    onTestFinished(async () => {
      await app.close();
      await sessions.close();
    });
    urls.push(app.url);
  }
  onTestFinished(() => proxy.stop());
  const browser = new Browser(urls[0] ?? "");
  return { proxy, browser, sound: urls[1] ?? "", merges, ends };
}

describe.each(frameworks.map((framework) => [framework.name, framework] as const))("with %s", (_, framework) => {
  it("a creation and writes whose answers were lost are applied once, and merged with nothing", async () => {
    const { proxy, browser, sound, merges } = await bench(framework);
    proxy.loseAnswerTo("evalsha");
    expect((await browser.get("/begin?user=alice")).status).toBe(200);
    const items = ["a", "b", "c", "d"];
    for (const item of items) {
      proxy.loseAnswerTo("evalsha");
      expect((await browser.get(`/append?item=${item}`)).text).toBe("appended");
    }
    expect(proxy.lost).toBe(5);
    expect((await browser.at(sound).get("/data")).json()).toEqual({ user: "alice", list: items });
    expect(merges).toEqual([]);
  });

  it("increments count once each, and the counter is never above what was answered or unknown", async () => {
    const { proxy, browser, sound } = await bench(framework);
    await browser.get("/begin?user=alice");
    let answered = 0;
    let unknown = 0;
    const rounds = 5;
    for (let round = 0; round < rounds; round++) {
      proxy.loseAnswerTo("evalsha");
      const calls = Array.from({ length: 8 }, (_, index) => browser.at(index % 2 ? sound : browser.url).get("/count"));
      for (const { status, text } of await Promise.all(calls)) {
        if (status === 200) answered += 1;
        else {
          unknown += 1;
          expect([status, text]).toEqual([503, expect.stringMatching(unknownOutcome)]);
        }
      }
    }
    expect(proxy.lost).toBe(rounds);
    const { count } = (await browser.at(sound).get("/data")).json<{ count: number }>();
    expect(count).toBeGreaterThanOrEqual(answered);
    expect(count).toBeLessThanOrEqual(answered + unknown);
  });

  it.each(["renew", "regenerate"])("%s() whose answers were lost gives one new session", async (how) => {
    const { proxy, browser, sound } = await bench(framework);
    const { id } = (await browser.get("/begin?user=alice")).json<{ id: string }>();
    const old = browser.at(sound);
    proxy.loseAnswerTo("evalsha");
    const login = await browser.get(`/${how}`);
    expect([login.status, login.setCookies.length, proxy.lost]).toEqual([200, 1, 1]);
    expect(login.json().id).not.toBe(id);
    expect((await browser.at(sound).get("/data")).json()).toMatchObject({ user: "alice" });
    expect((await old.get("/data")).json()).toEqual({});
  });

  it("a logout whose answer was lost is a logout: the cookie is cleared, and `destroyed` is told once", async () => {
    const { proxy, browser, sound, ends } = await bench(framework);
    const { id } = (await browser.get("/begin?user=alice")).json<{ id: string }>();
    const old = browser.at(sound);
    proxy.loseAnswerTo("evalsha");
    const answer = await browser.get("/logout");
    expect([answer.text, answer.setCookies]).toEqual(["bye", [expect.stringContaining("Max-Age=0")]]);
    expect([proxy.lost, ends]).toEqual([1, [{ id, reason: "logout" }]]);
    expect((await old.get("/data")).json()).toEqual({});
  });

  it("with two writes by others since, an increment is still recognised by its token", async () => {
    const bed = await bench(framework);
    const answer = await countWhileOthersWrite(bed, 2);
    expect([answer.status, answer.text]).toEqual([200, '{"count":1}']);
    expect((await bed.browser.at(bed.sound).get("/data")).json().count).toBe(3);
  });

  it("with more writes by others than tokens are kept, update() is a 503 that says so, and is not applied again", async () => {
    const bed = await bench(framework);
    const answer = await countWhileOthersWrite(bed, 3);
    expect([answer.status, answer.text]).toEqual([503, expect.stringMatching(unknownOutcome)]);
    expect(answer.setCookies).toEqual([]);
    // Three that were answered and the unknown one, which was applied.
    expect((await bed.browser.at(bed.sound).get("/data")).json().count).toBe(4);
  });

  it("with more writes by others than tokens are kept, a plain write finds its value and is done", async () => {
    const { proxy, browser, sound, merges } = await bench(framework);
    await browser.get("/begin?user=alice");
    const other = browser.at(sound);
    proxy.isShut = true;
    proxy.loseAnswerTo("evalsha");
    const writing = browser.get("/set?name=ada");
    await until(async () => (await other.get("/data")).json().name === "ada", "the lost write to be applied");
    for (let count = 1; count <= 3; count++) expect((await other.get("/count")).json()).toEqual({ count });
    proxy.isShut = false;
    expect((await writing).text).toBe("set");
    expect((await other.get("/data")).json()).toEqual({ user: "alice", list: [], name: "ada", count: 3 });
    expect(merges.filter((event) => "key" in event)).toEqual([]);
  });

  it.each(["bob", ""])(
    "a plain write that another one may have undone with %j since is a 503, and undoes nothing",
    async (name) => {
      const { proxy, browser, sound, merges } = await bench(framework);
      await browser.get("/begin?user=alice");
      await browser.get("/set?name=");
      const other = browser.at(sound);
      proxy.isShut = true;
      proxy.loseAnswerTo("evalsha");
      const writing = browser.get("/set?name=ada");
      await until(async () => (await other.get("/data")).json().name === "ada", "the lost write to be applied");
      for (const path of [`/set?name=${name}`, "/count", "/count"]) expect((await other.get(path)).status).toBe(200);
      proxy.isShut = false;
      const { status, text } = await writing;
      expect([status, text]).toEqual([503, expect.stringMatching(unknownOutcome)]);
      expect((await other.get("/data")).json()).toEqual({ user: "alice", list: [], name, count: 2 });
      expect(merges).toEqual([]);
    },
  );

  it("an increment that never arrived is made good where the record shows that", async () => {
    const { proxy, browser, sound } = await bench(framework);
    await browser.get("/begin?user=alice");
    const other = browser.at(sound);
    proxy.isShut = true;
    proxy.loseRequestWith("evalsha");
    const counting = browser.get("/count");
    await until(() => proxy.lost === 1, "the increment to be lost");
    for (let count = 1; count <= 2; count++) expect((await other.get("/count")).json()).toEqual({ count });
    proxy.isShut = false;
    expect((await counting).text).toBe('{"count":3}');
    expect((await other.get("/data")).json().count).toBe(3);
  });
});

describe("a login beside another request's save", () => {
  it.each([1, 2])("takes that along where the answer to its attempt %i to end the old id is lost", async (attempt) => {
    const proxy = await startProxy(redis.port);
    const client = new Redis(proxy.port, impatient);
    client.on("error", () => {});
    const store = probeStore(redisStore(client));
    const sessions = createSessions({ secret, store, storeTimeout: "5s" });
    const others = createSessions({ secret, store: redisStore(redis.url) });
    onTestFinished(async () => {
      client.disconnect();
      await Promise.all([sessions.close(), others.close(), proxy.stop()]);
    });
    const browser = new Client(sessions);
    await browser.request((session) => Object.assign(session, { user: "alice" }));
    const login = await browser.arrive();
    // The first write is the new record; the ones behind it end the old id. The first of these is refused.
    store.passing.write = 1;
    const first = store.hold("write");
    const renewing = login.session.renew();
    await first.reached;
    await new Client(others, browser.cookie).request((session) => Object.assign(session, { late: 1 }));
    if (attempt === 2) {
      const second = store.hold("write", first);
      await second.reached;
      proxy.loseAnswerTo("evalsha");
      second.release();
    } else {
      proxy.loseAnswerTo("evalsha");
      first.release();
    }
    await renewing;
    expect(proxy.lost).toBe(1);
    await browser.leave(login);
    await browser.request((session) => expect({ ...session }).toEqual({ user: "alice", late: 1 }));
  });
});

/** An increment whose answer is lost; before it can be repeated, `others` more come from another node. */
async function countWhileOthersWrite({ proxy, browser, sound }: Bench, others: number) {
  await browser.get("/begin?user=alice");
  const other = browser.at(sound);
  proxy.isShut = true;
  proxy.loseAnswerTo("evalsha");
  const counting = browser.get("/count");
  await until(async () => (await other.get("/data")).json().count === 1, "the lost increment to be applied");
  for (let index = 0; index < others; index++) expect((await other.get("/count")).status).toBe(200);
  proxy.isShut = false;
  return counting;
}
