/**
 * The end of a session races whoever still holds it: over HTTP, on one Redis, with the slow request on another
 * node.
 */
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { createSessions, type SessionEvents, type Sessions } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { type ManualClock, manualClock } from "../../src/testing/manual-clock.ts";
import { Browser } from "../support/browser.ts";
import { tally, times } from "../support/counts.ts";
import { type Deferred, deferred, until } from "../support/deferred.ts";
import { type AnySession, type Framework, frameworks, type Routes } from "../support/frameworks.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const secret = "a secret of the tests of endings, long enough";
const rounds = 200;
const ttl = 60_000;
const parallel = 20;
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.stop();
});

/** What the slow request does with its session once the session has ended. */
const slowRequests: Record<string, (session: AnySession) => unknown> = {
  "writes a key": (session) => (session.late = true),
  "writes while it streams": (session) => (session.late = true),
  "only reads": (session) => ({ ...session }),
  touches: (session) => session.touch(),
  "saves in a loop": async (session) => {
    for (let part = 0; part < 3; part++) {
      session.part = part;
      await session.save();
    }
  },
  // A login: an empty session under a new id, for which there is no cookie until something is written.
  regenerates: (session) => session.regenerate(),
  updates: (session) => session.update((data) => (data.late = true)).catch((error: { code: string }) => error.code),
};

/** Acts once the head and the first bytes have left. */
async function* streamed(user: unknown, act: () => Promise<void>): AsyncGenerator<string> {
  yield '{"user":';
  await act();
  yield `${JSON.stringify(user)}}`;
}

/** Requests that stand in the middle of their handler, by their number. */
class Doors {
  readonly #entered = new Map<string, Deferred<void>>();
  readonly #open = new Map<string, Deferred<void>>();

  async pass(name: string): Promise<void> {
    this.entered(name).resolve();
    await this.door(name).promise;
  }
  entered(name: string): Deferred<void> {
    return slot(this.#entered, name);
  }
  door(name: string): Deferred<void> {
    return slot(this.#open, name);
  }
}

function slot(map: Map<string, Deferred<void>>, name: string): Deferred<void> {
  const found = map.get(name) ?? deferred();
  map.set(name, found);
  return found;
}

interface Pair {
  fast: string;
  slow: string;
  sessions: Sessions[];
  doors: Doors;
  gone: SessionEvents["gone"][];
}

/** Two nodes of one framework, each with an engine and a connection of its own. */
async function pair(framework: Framework, clock?: ManualClock): Promise<Pair> {
  const doors = new Doors();
  const gone: SessionEvents["gone"][] = [];
  const routes: Routes = {
    "/login": async ({ session }) => {
      await session.regenerate();
      return "";
    },
    "/begin": ({ session, query }) => {
      session.user = query.get("user");
      return { id: session.id };
    },
    "/data": ({ session }) => ({ ...session }),
    "/logout": async ({ session }) => {
      await session.destroy();
      return "bye";
    },
    "/sign-in": async ({ session, query }) => {
      await session.renew();
      session.user = query.get("user");
      return { id: session.id };
    },
    "/slow": async ({ session, query }) => {
      const { user } = session;
      const act = async (): Promise<void> => {
        await doors.pass(String(query.get("round")));
        await slowRequests[String(query.get("does"))]?.(session);
      };
      if (query.get("does") === "writes while it streams") return Readable.from(streamed(user, act));
      await act();
      return { user };
    },
  };
  const sessions: Sessions[] = [];
  const urls: string[] = [];
  for (let index = 0; index < 2; index++) {
    const store = redisStore(redis.url, clock ? { clock: clock.now } : {});
    const engine = createSessions({ secret, store, ttl, touchInterval: 0, storeTimeout: "10s" });
    engine.on("gone", (event) => void gone.push(event));
    const app = await framework.start(engine, routes);
    onTestFinished(async () => {
      await app.close();
      await engine.close();
    });
    sessions.push(engine);
    urls.push(app.url);
  }
  return { fast: urls[0] ?? "", slow: urls[1] ?? "", sessions, doors, gone };
}

async function liveKeys(): Promise<string[]> {
  const keys = (await redis.command("KEYS", "*")).split(/\r?\n/).filter((line) => line.startsWith("holdfast:"));
  const records = await Promise.all(keys.map((key) => redis.command("GETRANGE", key, "0", "2")));
  return keys.filter((_, index) => !records[index]?.includes("H1E"));
}

/** One logout while a slow request is in its handler; gives both answers. */
async function race(
  { fast, slow, doors }: Pair,
  does: string,
  round: number,
): Promise<{ id: string; browser: Browser }> {
  const browser = new Browser(fast);
  const { id } = (await browser.get(`/begin?user=u${round}`)).json<{ id: string }>();
  const old = browser.cookieHeader;
  const other = browser.at(slow);
  const name = `${does} ${round}`;
  const late = other.get(`/slow?${new URLSearchParams({ does, round: name })}`);
  await doors.entered(name).promise;
  const out = await browser.get("/logout");
  expect([out.status, browser.cookieHeader]).toEqual([200, undefined]);
  doors.door(name).resolve();
  const answer = await late;
  expect([answer.status, answer.setCookies]).toEqual([200, []]);
  expect(answer.json().user).toBe(`u${round}`);
  expect((await browser.get("/data", { headers: { cookie: String(old) } })).text).toBe("{}");
  return { id, browser };
}

describe.each(frameworks.map((framework) => [framework.name, framework] as const))("with %s", (_, framework) => {
  it.each(Object.keys(slowRequests))("a logout is final for a slow request that %s: none comes back", async (does) => {
    const nodes = await pair(framework);
    // The full count for the writer, which every peer fails; the others share it.
    const count = does === "writes a key" ? rounds : times(rounds / 5, rounds);
    await redis.command("FLUSHALL");
    const ids: string[] = [];
    for (let round = 0; round < count; round += parallel) {
      const batch = Array.from({ length: parallel }, (_, index) => race(nodes, does, round + index));
      ids.push(...(await Promise.all(batch)).map(({ id }) => id));
    }
    expect(await liveKeys()).toEqual([]);
    tally("T2", "logouts racing a slow request, none back", count);
    // Its own end of the old session found that ended: nothing came too late.
    if (does === "regenerates") return;
    // A request that only reads has nothing to save, but its touch comes too late as well (touchInterval: 0).
    await until(() => new Set(nodes.gone.map(({ id }) => id)).size === ids.length, "each late request to be reported");
    expect(new Set(nodes.gone.map(({ id }) => id))).toEqual(new Set(ids));
  });

  const lateWrites = ["writes a key", "writes while it streams", "touches", "updates"];
  it.each(["revoked", "expired"].flatMap((how) => lateWrites.map((does) => [how, does] as const)))(
    "a session that was %s is over for a slow request that %s: nothing comes back, no cookie, each one reported",
    async (how, does) => {
      const clock = manualClock();
      const nodes = await pair(framework, how === "expired" ? clock : undefined);
      const { fast, slow, sessions, doors, gone } = nodes;
      await redis.command("FLUSHALL");
      const most = does === "writes a key" ? parallel : parallel / 4;
      const count = times(most, rounds);
      const ended: string[] = [];
      for (let round = 0; round < count; round += most) {
        const users = Array.from({ length: most }, (_, index) => `${how} ${round + index}`);
        const browsers = users.map(() => new Browser(fast));
        const begun = await Promise.all(browsers.map((browser, index) => browser.get(`/begin?user=${users[index]}`)));
        const ids = begun.map((answer) => answer.json<{ id: string }>().id);
        const late = browsers.map((browser, index) =>
          browser.at(slow).get(`/slow?${new URLSearchParams({ does, round: users[index] ?? "" })}`),
        );
        await Promise.all(users.map((user) => doors.entered(user).promise));
        if (how === "expired") clock.advance(ttl);
        else await Promise.all(ids.map((id) => sessions[0]?.destroy(id)));
        for (const user of users) doors.door(user).resolve();
        const answers = await Promise.all(late);
        expect(answers.map(({ status, setCookies }) => [status, setCookies])).toEqual(answers.map(() => [200, []]));
        const after = await Promise.all(browsers.map((browser) => browser.get("/data")));
        expect(after.map(({ text, setCookies }) => [text, setCookies])).toEqual(after.map(() => ["{}", []]));
        ended.push(...ids);
      }
      if (how === "revoked") expect(await liveKeys()).toEqual([]);
      await until(() => gone.length >= ended.length, "each late request to be reported");
      expect(gone.map(({ id }) => id).sort()).toEqual(ended.sort());
      tally("T2", `${how} under a slow request, none back`, count);
    },
  );

  it.each(["logged out", "revoked"])(
    "whoever was %s logs in again at once, in the same browser, dead cookie and all",
    async (how) => {
      const { fast, slow, sessions } = await pair(framework);
      for (const path of ["/sign-in", "/begin"]) {
        const browser = new Browser(fast);
        const { id } = (await browser.get("/begin?user=alice")).json<{ id: string }>();
        const dead = new Map(browser.cookies);
        if (how === "revoked") await sessions[1]?.destroy(id);
        else await browser.get("/logout");
        // The browser has not heard of it: it sends the dead cookie.
        for (const [name, value] of dead) browser.cookies.set(name, value);
        const again = await browser.get(`${path}?user=bob`);
        expect(again.status).toBe(200);
        // After one's own logout a plain write is no login: it must not revive anything.
        const isIn = how === "revoked" || path === "/sign-in";
        expect(again.setCookies).toHaveLength(isIn ? 1 : 0);
        expect((await browser.at(slow).get("/data")).json()).toEqual(isIn ? { user: "bob" } : {});
        if (isIn) expect(again.json().id).not.toBe(id);
      }
    },
  );

  it("whoever was evicted logs in again at once, in the same browser, dead cookie and all", async () => {
    const principal = (data: object): string | undefined => ("user" in data ? String(data.user) : undefined);
    const store = redisStore(redis.url);
    const sessions = createSessions({ secret, store, principal, maxSessions: 1 });
    const ended: SessionEvents["destroyed"][] = [];
    sessions.on("destroyed", (event) => void ended.push(event));
    const app = await framework.start(sessions, {
      "/sign-in": async ({ session, query }) => {
        await session.renew();
        session.user = query.get("user");
        await session.save();
        return { id: session.id };
      },
      "/data": ({ session }) => ({ ...session }),
    });
    onTestFinished(async () => {
      await app.close();
      await sessions.close();
    });
    const user = `evicted-${framework.name}`;
    const [first, second] = [new Browser(app.url), new Browser(app.url)];
    const { id } = (await first.get(`/sign-in?user=${user}`)).json<{ id: string }>();
    expect((await second.get(`/sign-in?user=${user}`)).status).toBe(200);
    await until(() => ended.some((end) => end.id === id && end.reason === "evicted"), "the first to be evicted");
    expect((await first.at(app.url).get("/data")).json()).toEqual({});
    // It has not heard of it: its cookie is the dead one.
    const again = await first.get(`/sign-in?user=${user}`);
    expect([again.status, again.setCookies.length]).toEqual([200, 1]);
    expect(again.json<{ id: string }>().id).not.toBe(id);
    expect((await first.get("/data")).json()).toEqual({ user });
    await until(
      async () => !("user" in (await second.get("/data")).json<object>()),
      "the second to be evicted in turn",
    );
  });
});
