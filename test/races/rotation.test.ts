/**
 * A new id races the requests that still carry the old one: at a login (no grace) and in time (`renewalTimeout`, with
 * one). Over HTTP, two nodes on one Redis; the clock is moved by hand.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { createSessions, type SessionEvents, type Sessions } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { type ManualClock, manualClock } from "../../src/testing/manual-clock.ts";
import { Browser } from "../support/browser.ts";
import { tally, times } from "../support/counts.ts";
import { deferred, until } from "../support/deferred.ts";
import { type Framework, frameworks, type Routes } from "../support/frameworks.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { startProxy } from "../support/tcp-proxy.ts";

const secret = "a secret of the tests of rotation, long enough";
const renewalTimeout = 60_000;
const renewalGrace = 5_000;
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
beforeEach(async () => {
  await redis.command("FLUSHALL");
});
afterAll(async () => {
  await redis.stop();
});

/** Requests that wait in their handlers until all are let go. */
interface Gate {
  inside: number;
  readonly open: Promise<void>;
  let(): void;
}

function gate(): Gate {
  const { promise, resolve } = deferred();
  return { inside: 0, open: promise, let: resolve };
}

interface Bench {
  urls: [string, string];
  ports: [number, number];
  sessions: Sessions[];
  clock: ManualClock;
  events: { renewed: SessionEvents["renewed"][]; gone: SessionEvents["gone"][] };
  /** `/held?…` waits here. */
  gates: Map<string, Gate>;
}

async function bench(framework: Framework): Promise<Bench> {
  const clock = manualClock();
  const gates = new Map<string, Gate>();
  const events: Bench["events"] = { renewed: [], gone: [] };
  const routes: Routes = {
    "/begin": ({ session }) => {
      session.user = "anonymous";
      return { id: session.id };
    },
    "/data": ({ session }) => ({ id: session.id, data: { ...session } }),
    "/set": ({ session, query }) => {
      for (const [key, value] of query) session[key] = value;
      return { id: session.id };
    },
    "/regenerate": async (call) => {
      await call.session.regenerate();
      call.session.user = "alice";
      return { id: call.session.id };
    },
    "/renew": async ({ session }) => {
      session.user = "alice";
      await session.renew();
      return { id: session.id };
    },
    "/held": async ({ session, query }) => {
      const held = gates.get(String(query.get("gate")));
      const before = { ...session };
      if (held) held.inside += 1;
      await held?.open;
      const key = query.get("key");
      if (key !== null) session[key] = key;
      return { before };
    },
    "/held-update": async ({ session, query }) => {
      const held = gates.get(String(query.get("gate")));
      if (held) held.inside += 1;
      await held?.open;
      return session.update((data) => {
        data.count = Number(data.count ?? 0) + 1;
        return { count: data.count };
      });
    },
  };
  const nodes = await Promise.all(
    [0, 1].map(async () => {
      const store = redisStore(redis.url, { clock: clock.now });
      const sessions = createSessions({ secret, store, renewalTimeout, renewalGrace, storeTimeout: "10s" });
      sessions.on("renewed", (event) => void events.renewed.push(event));
      sessions.on("gone", (event) => void events.gone.push(event));
      const app = await framework.start(sessions, routes);
      onTestFinished(async () => {
        await app.close();
        await sessions.close();
      });
      return { app, sessions };
    }),
  );
  const [first, second] = nodes;
  if (first === undefined || second === undefined) throw new Error("two nodes were started");
  return {
    urls: [first.app.url, second.app.url],
    ports: [first.app.port, second.app.port],
    sessions: nodes.map(({ sessions }) => sessions),
    clock,
    events,
    gates,
  };
}

/** Public ids of the sessions in Redis that are no tombstones and no pointers. */
async function liveIds(): Promise<string[]> {
  const keys = (await redis.command("KEYS", "*")).split(/\r?\n/).filter((line) => line.startsWith("holdfast:"));
  const heads = await Promise.all(keys.map((key) => redis.command("GETRANGE", key, "0", "2")));
  return keys.filter((_, index) => heads[index]?.includes("H1L")).map((key) => key.slice("holdfast:".length));
}

describe.each(frameworks.map((framework) => [framework.name, framework] as const))("with %s", (_, framework) => {
  it.each([
    ["regenerate", "writes"],
    ["regenerate", "reads"],
    ["renew", "writes"],
    ["renew", "reads"],
  ])(
    "%s() at a login, with 10 in flight and 10 late on the old id, of which each %s: the browser ends on the new id",
    async (how, does) => {
      const { urls, sessions, events, gates } = await bench(framework);
      const rounds = times(10, 200);
      const ids: string[] = [];
      const round = async (index: number): Promise<void> => {
        const name = `gate${index}`;
        const held = gate();
        gates.set(name, held);
        const browser = new Browser(urls[0]);
        const old = (await browser.get("/begin")).json<{ id: string }>();
        const cookie = String(browser.cookieHeader);
        // All through one jar, which takes each Set-Cookie as it arrives.
        const request = (node: 0 | 1, path: string) =>
          browser.get(new URL(path, urls[node]).href, { headers: { cookie } });
        const path = (n: number): string => (does === "writes" ? `gate=${name}&key=k${n}` : `gate=${name}`);
        const inFlight = Array.from({ length: 10 }, (_, n) => request(n % 2 ? 1 : 0, `/held?${path(n)}`));
        await until(() => held.inside === 10, "ten requests in their handlers");
        const login = (await request(0, `/${how}`)).json<{ id: string }>();
        held.let();
        const late = Array.from({ length: 10 }, (_, n) => request(n % 2 ? 1 : 0, `/held?${path(n + 10)}`));
        const answers = await Promise.all([...inFlight, ...late]);
        expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
        expect(answers.flatMap(({ setCookies }) => setCookies)).toEqual([]);
        for (const answer of answers.slice(10)) expect(answer.json()).toEqual({ before: {} });
        const after = (await browser.get("/data")).json<{ id: string; data: object }>();
        expect(after).toEqual({ id: login.id, data: { user: "alice" } });
        expect(after.id).not.toBe(old.id);
        expect(await sessions[1]?.get(old.id)).toBeUndefined();
        // Each of the twenty writes is told to be lost, none in silence.
        const reported = events.gone.filter(({ id, operation }) => id === old.id && operation === "save");
        expect(reported).toHaveLength(does === "writes" ? 20 : 0);
        ids.push(login.id);
      };
      for (let index = 0; index < rounds; index += 5) {
        await Promise.all(Array.from({ length: 5 }, (_, n) => round(index + n)));
      }
      expect((await liveIds()).sort()).toEqual(ids.sort());
      tally("T3", "logins, each with 20 others", rounds);
    },
  );

  it("renew() has no grace: the old cookie is worth nothing as soon as the login is answered", async () => {
    const { urls } = await bench(framework);
    const browser = new Browser(urls[0]);
    await browser.get("/begin");
    const stale = browser.at(urls[1]);
    await browser.get("/renew");
    expect((await stale.get("/data")).json()).toMatchObject({ data: {} });
    expect((await browser.get("/data")).json()).toMatchObject({ data: { user: "alice" } });
  });

  it("a rotation in time happens once under 30 parallel requests of both nodes; all get the same cookie", async () => {
    const { urls, clock, events } = await bench(framework);
    const browser = new Browser(urls[0]);
    const { id: oldId } = (await browser.get("/begin")).json<{ id: string }>();
    clock.advance(renewalTimeout);
    const requests = Array.from({ length: 30 }, (_, n) =>
      browser.at(urls[n % 2 ? 1 : 0]).get(n % 3 ? "/data" : `/set?k${n}=${n}`),
    );
    const answers = await Promise.all(requests);
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(events.renewed).toHaveLength(1);
    expect(events.renewed[0]?.previousId).toBe(oldId);
    const cookies = new Set(answers.flatMap(({ setCookies }) => setCookies));
    expect(cookies.size).toBe(1);
    expect(await liveIds()).toEqual([events.renewed[0]?.id]);
    const last = (await browser.get("/data")).json<{ data: object }>();
    const written = Array.from({ length: 10 }, (_, n) => [`k${3 * n}`, String(3 * n)]);
    expect(last.data).toEqual({ user: "anonymous", ...Object.fromEntries(written) });
  });

  it("requests in flight under the old id read and write the same session while it rotates, and later in the grace", async () => {
    const { urls, clock, events, gates } = await bench(framework);
    const held = gate();
    gates.set("flight", held);
    const browser = new Browser(urls[0]);
    await browser.get("/begin");
    const old = browser.at(urls[1]);
    const saves = Array.from({ length: 5 }, (_, n) => old.at(urls[n % 2 ? 1 : 0]).get(`/held?gate=flight&key=k${n}`));
    const updates = Array.from({ length: 5 }, (_, n) => old.at(urls[n % 2 ? 1 : 0]).get("/held-update?gate=flight"));
    await until(() => held.inside === 10, "ten requests in their handlers");
    clock.advance(renewalTimeout);
    await browser.get("/set?by=rotation");
    expect(events.renewed).toHaveLength(1);
    held.let();
    const answers = await Promise.all([...saves, ...updates]);
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    const expected: Record<string, unknown> = { user: "anonymous", by: "rotation", count: 5 };
    for (let n = 0; n < 5; n++) expected[`k${n}`] = `k${n}`;
    expect((await browser.get("/data")).json()).toMatchObject({ data: expected });
    clock.advance(renewalGrace - 1);
    const late = old.at(urls[1]);
    expect((await late.get("/set?late=yes")).status).toBe(200);
    expect(late.cookieHeader).toBe(browser.cookieHeader);
    expect((await browser.get("/data")).json()).toMatchObject({ data: { ...expected, late: "yes" } });
    expect(events.renewed).toHaveLength(1);
  });

  it("a client whose connection broke before the new cookie arrived is not logged out, however late it comes", async () => {
    const { urls, ports, clock, events } = await bench(framework);
    const proxy = await startProxy(ports[0]);
    onTestFinished(() => proxy.stop());
    const browser = new Browser(`http://127.0.0.1:${proxy.port}`);
    await browser.get("/begin");
    const before = browser.cookieHeader;
    clock.advance(renewalTimeout);
    proxy.loseAnswerTo("/set?lost=1");
    await expect(browser.get("/set?lost=1")).rejects.toThrow();
    expect([proxy.lost, events.renewed.length, browser.cookieHeader]).toEqual([1, 1, before]);
    // Nobody has presented the new id: the grace has not begun.
    clock.advance(renewalGrace * 10);
    const again = browser.at(urls[1]);
    expect((await again.get("/data")).json()).toEqual({
      id: events.renewed[0]?.id,
      data: { user: "anonymous", lost: "1" },
    });
    expect(again.cookieHeader).not.toBe(before);
  });

  it("the old id is dead a grace after the new one was first presented, and then sets no cookie", async () => {
    const { urls, clock, events, sessions } = await bench(framework);
    const browser = new Browser(urls[0]);
    const { id: oldId } = (await browser.get("/begin")).json<{ id: string }>();
    const old = browser.at(urls[1]);
    clock.advance(renewalTimeout);
    await browser.get("/data");
    expect((await old.at(urls[0]).get("/data")).json()).toMatchObject({ data: { user: "anonymous" } });
    await browser.get("/data");
    // The pointer then says when the grace ends, and stands a little longer.
    const pointer = (): Promise<string> => redis.command("GET", `holdfast:${oldId}`);
    await until(async () => / \d{13}\s*$/.test(await pointer()), "the grace to begin");
    clock.advance(renewalGrace);
    const answer = await old.get("/data");
    expect([answer.json<{ data: object }>().data, answer.setCookies]).toEqual([{}, []]);
    expect(await sessions[0]?.get(oldId)).toBeUndefined();
    expect((await browser.get("/data")).json()).toEqual({ id: events.renewed[0]?.id, data: { user: "anonymous" } });
  });
});
