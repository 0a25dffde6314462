/**
 * Nobody ever sees another user's data: many clients on a small pool of connections, with requests that are aborted at
 * random and connections to Redis that are cut in the middle of commands. Each session's data name their owner.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createSessions } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { Browser } from "../support/browser.ts";
import { seed, tally, times } from "../support/counts.ts";
import { until } from "../support/deferred.ts";
import { frameworks, type Routes } from "../support/frameworks.ts";
import { expectDone } from "../support/in-time.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { seeded } from "../support/seeded.mjs";

const secret = "a secret of the tests of crossing, long enough";
const clients = 64;
/** A million in all, over the three frameworks. */
const requestsEach = times(30, 5_210);
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.stop();
});

const routes: Routes = {
  "/begin": ({ session, query }) => {
    session.owner = query.get("owner");
    return { owner: session.owner };
  },
  "/read": ({ session }) => ({ owner: session.owner ?? null }),
  "/write": ({ session, query }) => {
    session.last = query.get("value");
    return { owner: session.owner ?? null };
  },
  "/count": ({ session }) =>
    session.update((data) => {
      data.count = Number(data.count ?? 0) + 1;
      return { owner: data.owner ?? null };
    }),
  "/renew": async ({ session }) => {
    await session.renew();
    return { owner: session.owner ?? null };
  },
};

interface Tally {
  answered: number;
  /** Answers that showed the client's own data. */
  own: number;
  aborted: number;
  /** Answered with a 503 while a connection was being cut. */
  unavailable: number;
  /** Whatever must not be: another's data, another status, a response that broke by itself. */
  wrong: string[];
}

const paths = ["/read", "/read", "/write?value=1", "/write?value=2", "/count", "/renew"] as const;

/** One user, whose requests go two at a time to both nodes; about one in ten is aborted. */
async function drive(urls: readonly string[], owner: string, random: () => number, seen: Tally): Promise<void> {
  let browser = new Browser("http://127.0.0.1");
  const one = async (url: string, path: string, abortAfterMs: number | undefined): Promise<void> => {
    const init = abortAfterMs === undefined ? {} : { signal: AbortSignal.timeout(abortAfterMs) };
    const answer = await browser.get(new URL(path, url).href, init).catch((error: Error) => error);
    if (answer instanceof Error) {
      if (abortAfterMs === undefined) seen.wrong.push(`${path}: ${answer.message}`);
      else seen.aborted += 1;
      return;
    }
    seen.answered += 1;
    if (answer.status === 503) seen.unavailable += 1;
    else if (answer.status !== 200 && answer.status !== 401) seen.wrong.push(`${path}: ${answer.status}`);
    else if (answer.status === 200) {
      const owned = answer.json().owner ?? null;
      // `null`: a renewal's cookie was lost with its answer.
      if (owned !== owner && owned !== null) seen.wrong.push(`${path}: ${owner} saw ${String(owned)}`);
      if (owned === owner) seen.own += 1;
      if (owned === null) browser = new Browser("http://127.0.0.1");
    }
  };
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T; // never beyond the end
  const oneAtRandom = (): Promise<void> =>
    one(pick(urls), pick(paths), random() < 0.1 ? 1 + Math.floor(random() * 6) : undefined);
  for (let round = 0; round < requestsEach / 2; round++) {
    if (browser.cookieHeader === undefined) await one(pick(urls), `/begin?owner=${owner}`, undefined);
    await Promise.all([oneAtRandom(), oneAtRandom()]);
  }
}

describe.each(frameworks.map((framework) => [framework.name, framework] as const))("with %s", (_, framework) => {
  it(
    `${clients} clients, aborts and cut connections: no answer shows another's data (seed ${seed})`,
    async () => {
      const engines = [0, 1].map(() => createSessions({ secret, store: redisStore(redis.url), storeTimeout: "5s" }));
      const apps = await Promise.all(engines.map((engine) => framework.start(engine, routes)));
      const urls = apps.map(({ url }) => url);
      const seen: Tally = { answered: 0, own: 0, aborted: 0, unavailable: 0, wrong: [] };
      let isRunning = true;
      let kills = 0;
      const killing = (async () => {
        while (isRunning) {
          // At each 300 answers or so, whatever is on the wire then is cut.
          const next = seen.answered + 300;
          await until(() => !isRunning || seen.answered >= next, "answers");
          if (isRunning) kills += Number((await redis.command("CLIENT", "KILL", "TYPE", "normal")).replace(":", ""));
        }
      })();
      await Promise.all(
        Array.from({ length: clients }, (_, index) => drive(urls, `user${index}`, seeded(seed + index), seen)),
      );
      isRunning = false;
      await killing;
      expect(seen.wrong).toEqual([]);
      tally("T10", "requests, none saw another's data", seen.answered + seen.aborted);
      tally("T10", "of them aborted", seen.aborted);
      tally("T10", "connections cut", kills);
      expect(seen.answered + seen.aborted).toBeGreaterThanOrEqual(clients * requestsEach);
      expectDone(seen.own, seen.answered * 0.8, "answers with what is the client's own");
      expectDone(seen.aborted, 50, "requests that were aborted");
      expectDone(kills, 5, "connections that were cut");
      expectDone(seen.answered / 20, seen.unavailable, "answers but those of connections that were cut");
      for (const app of apps) await app.close();
      for (const engine of engines) await engine.close();
    },
    times(600_000, 3_600_000),
  );
});
