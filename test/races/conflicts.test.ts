/** What happens to one key that parallel requests write, over HTTP, on one Redis and two nodes. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { createSessions, type SessionEvents, type SessionOptions, type Sessions } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { Browser } from "../support/browser.ts";
import { tally, times } from "../support/counts.ts";
import { deferred } from "../support/deferred.ts";
import { type Framework, frameworks, type Routes } from "../support/frameworks.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const secret = "a secret of the tests of conflicts, long enough";
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.stop();
});

async function node(
  framework: Framework,
  routes: Routes,
  options: Partial<SessionOptions> = {},
): Promise<{ url: string; sessions: Sessions }> {
  const sessions = createSessions({ secret, store: redisStore(redis.url), storeTimeout: "10s", ...options });
  const app = await framework.start(sessions, routes);
  onTestFinished(async () => {
    await app.close();
    await sessions.close();
  });
  return { url: app.url, sessions };
}

/** `/begin`, `/data`, and `/write?key=value`, which writes once `writers` requests have read the session. */
function routesWithBarrier(writers: number): Routes {
  const everybodyRead = deferred();
  let arrived = 0;
  return {
    "/begin": ({ session }) => Object.assign(session, { tags: ["a"], stock: 0, other: 0 }),
    "/data": ({ session }) => ({ ...session }),
    "/write": async ({ session, query }) => {
      const values = { ...session };
      if (++arrived === writers) everybodyRead.resolve();
      await everybodyRead.promise;
      for (const [key, value] of query) {
        const before = values[key];
        session[key] = Array.isArray(before) ? [...before, value] : Number(before) + Number(value);
      }
      return { mine: { ...session } };
    },
  };
}

describe.each(frameworks.map((framework) => [framework.name, framework] as const))("with %s", (_, framework) => {
  it("50 plain read-modify-writes of one key from two nodes: 50 counted, or each loss is reported as a conflict", async () => {
    const writers = 50;
    const rounds = times(1, 20);
    for (let round = 0; round < rounds; round++) {
      const routes = routesWithBarrier(writers);
      const nodes = [await node(framework, routes), await node(framework, routes)];
      const conflicts: SessionEvents["conflict"][] = [];
      for (const { sessions } of nodes) sessions.on("conflict", (event) => void conflicts.push(event));
      const browser = new Browser(nodes[0]?.url ?? "");
      await browser.get("/begin");
      const calls = Array.from({ length: writers }, (_, index) => browser.at(nodes[index % 2]?.url ?? ""));
      // Each adds another amount: two requests that write the same value agree, and lose nothing of their own.
      const answers = await Promise.all(calls.map((call, index) => call.get(`/write?stock=${index + 1}`)));
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
      expect(conflicts).toHaveLength(writers - 1);
      expect(new Set(conflicts.map(({ key }) => key))).toEqual(new Set(["stock"]));
    }
    tally("T1", "rounds of 50 plain writers of one key, each loss reported", rounds);
  });

  it("an onConflict resolver decides a key that both nodes changed, and the answer after it shows the result", async () => {
    const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
    const onConflict = (_key: string, _base: unknown, mine: unknown, theirs: unknown): unknown => [
      ...new Set([...listOf(theirs), ...listOf(mine)]),
    ];
    const writers = 8;
    const routes = routesWithBarrier(writers);
    const nodes = [await node(framework, routes, { onConflict }), await node(framework, routes, { onConflict })];
    const browser = new Browser(nodes[0]?.url ?? "");
    await browser.get("/begin");
    const answers = await Promise.all(
      Array.from({ length: writers }, (_, index) =>
        browser.at(nodes[index % 2]?.url ?? "").get(`/write?tags=t${index}`),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    const { tags } = (await browser.get("/data")).json<{ tags: string[] }>();
    expect(tags.sort()).toEqual(["a", ...Array.from({ length: writers }, (_, index) => `t${index}`)]);
  });

  it('onConflict "reject": one writer of the key wins, the others get a 409, other keys merge as ever', async () => {
    const writers = 9;
    const routes = routesWithBarrier(writers);
    const options = { onConflict: "reject" } as const;
    const nodes = [await node(framework, routes, options), await node(framework, routes, options)];
    const browser = new Browser(nodes[0]?.url ?? "");
    await browser.get("/begin");
    const paths = ["other=7", ...Array.from({ length: writers - 1 }, (_, index) => `stock=${index + 1}`)];
    const answers = await Promise.all(
      paths.map((path, index) => browser.at(nodes[index % 2]?.url ?? "").get(`/write?${path}`)),
    );
    const [other, ...stock] = answers;
    expect(other?.status).toBe(200);
    const winners = stock.filter(({ status }) => status === 200);
    const losers = stock.filter(({ status }) => status === 409);
    expect([winners.length, losers.length]).toEqual([1, writers - 2]);
    expect(new Set(losers.map(({ text }) => text))).toEqual(new Set(["ERR_SESSION_CONFLICT"]));
    expect(losers.flatMap(({ setCookies }) => setCookies)).toEqual([]);
    const won = winners[0]?.json<{ mine: { stock: number } }>().mine.stock;
    expect((await browser.get("/data")).json()).toEqual({ tags: ["a"], stock: won, other: 7 });
  });

  it.each([
    ["the login wins and the conflict is reported", {}, 200, 1],
    ['under "reject" the login is a 409 without a cookie', { onConflict: "reject" } as const, 409, 2],
  ])("a key that the other node saved beside a login: %s", async (_name, options, status, stock) => {
    const [inside, open] = [deferred(), deferred()];
    const routes: Routes = {
      ...routesWithBarrier(1),
      "/login": async ({ session }) => {
        inside.resolve();
        await open.promise;
        session["stock"] = 1;
        await session.renew();
        return "in";
      },
    };
    const [here, elsewhere] = [await node(framework, routes, options), await node(framework, routes, options)];
    const conflicts: SessionEvents["conflict"][] = [];
    here.sessions.on("conflict", (event) => void conflicts.push(event));
    const browser = new Browser(here.url);
    await browser.get("/begin");
    const other = browser.at(elsewhere.url);
    const login = browser.get("/login");
    await inside.promise;
    expect((await other.get("/write?stock=2")).status).toBe(200);
    open.resolve();
    const answer = await login;
    expect([answer.status, answer.setCookies.length]).toEqual([status, status === 200 ? 1 : 0]);
    expect(conflicts.map(({ key }) => key)).toEqual(status === 200 ? ["stock"] : []);
    expect((await browser.get("/data")).json()).toEqual({ tags: ["a"], stock, other: 0 });
  });
});
