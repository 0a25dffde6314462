/**
 * Answers of Redis lost at random, in every command of every path, against a model of what a user may rely on: what was
 * answered was done once, what was not may have been done once, and nothing twice. The seed repeats a run.
 */
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { createSessions } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { Browser } from "../support/browser.ts";
import { seed, tally, times } from "../support/counts.ts";
import { frameworks, type Routes } from "../support/frameworks.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { seeded } from "../support/seeded.mjs";
import { startProxy } from "../support/tcp-proxy.ts";

const secret = "a secret of the tests of lost answers, long enough";
/** A thousand in all, over the three frameworks. */
const drops = times(10, 334);
const impatient = {
  commandTimeout: 150,
  socketTimeout: 2_000,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 1,
  retryStrategy: () => 20,
};
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.stop();
});

const routes: Routes = {
  "/data": ({ session }) => ({ ...session }),
  "/append": ({ session, query }) => {
    session.list = [...((session.list as string[] | undefined) ?? []), query.get("item")]; // ours
    return "done";
  },
  "/count": async ({ session }) => {
    await session.update((data) => {
      data.count = Number(data.count ?? 0) + 1;
    });
    return "done";
  },
  "/remember": ({ session }) => {
    session.cookie.maxAge = 3_600_000 + Math.floor(performance.now());
    return "done";
  },
  "/touch": async ({ session }) => {
    await session.touch();
    return "done";
  },
  "/reload": async ({ session }) => {
    await session.reload();
    return "done";
  },
  "/renew": async ({ session }) => {
    await session.renew();
    return "done";
  },
  "/regenerate": async (call) => {
    await call.session.regenerate();
    call.session.fresh = true;
    return "done";
  },
  "/logout": async ({ session }) => {
    await session.destroy();
    return "done";
  },
};

/** The paths, and how many commands each sends at most: its answer to any of them may be the one that is lost. */
const paths: Readonly<Record<string, number>> = {
  "/data": 1,
  "/append": 2,
  "/count": 2,
  "/remember": 2,
  "/touch": 2,
  "/reload": 2,
  "/renew": 3,
  "/regenerate": 3,
  "/logout": 2,
};

/** What the session may hold: what was answered, and what may have been done besides. */
interface Known {
  list: string[];
  /** An item that may be the last of the list. */
  maybe: string | undefined;
  least: number;
  most: number;
}

const nothing = (): Known => ({ list: [], maybe: undefined, least: 0, most: 0 });

describe.each(frameworks.map((framework) => [framework.name, framework] as const))("with %s", (_, framework) => {
  it(
    `${drops} lost answers: nothing is done twice, and what was answered was done (seed ${seed})`,
    async () => {
      const random = seeded(seed);
      const proxy = await startProxy(redis.port);
      const client = new Redis(proxy.port, impatient);
      client.on("error", () => {});
      const urls: string[] = [];
      for (const store of [redisStore(client), redisStore(redis.url)]) {
        const sessions = createSessions({ secret, store, storeTimeout: "5s", touchInterval: 0 });
        const app = await framework.start(sessions, routes);
        onTestFinished(async () => {
          await app.close();
          await sessions.close();
        });
        urls.push(app.url);
      }
      onTestFinished(async () => {
        client.disconnect();
        await proxy.stop();
      });
      const [lossy = "", sound = ""] = urls;
      let browser = new Browser(lossy);
      let known = nothing();
      let unknown = 0;
      const log: string[] = [];
      for (let step = 0; proxy.lost < drops; step++) {
        const name = Object.keys(paths)[Math.floor(random() * Object.keys(paths).length)] ?? "/data";
        const after = Math.floor(random() * (paths[name] ?? 1));
        const before = proxy.lost;
        const old = browser.at(sound);
        proxy.loseAnswerTo("holdfast:", after);
        const answer = await browser.get(`${name}?item=i${step}`);
        proxy.spare();
        log.push(`${name} ${after} ${proxy.lost - before} ${answer.status}`);
        const shown = `seed ${seed}: ${log.slice(-8).join(", ")}`;
        expect([200, 503], shown).toContain(answer.status);
        const isDone = answer.status === 200;
        if (!isDone) unknown += 1;
        if (name === "/append") {
          if (isDone) known.list.push(`i${step}`);
          else known.maybe = `i${step}`;
        } else if (name === "/count") {
          known.least += isDone ? 1 : 0;
          known.most += 1;
        } else if (["/renew", "/regenerate", "/logout"].includes(name)) {
          if (isDone) expect((await old.get("/data")).text, `${shown}: the old cookie`).toBe("{}");
          if (!isDone || name !== "/renew") {
            // After an unknown end nobody knows whether the session lives: the user logs in again.
            browser = new Browser(lossy);
            known = nothing();
          }
        }
        const data = (await browser.at(sound).get("/data")).json<{ list?: string[]; count?: number }>();
        const list = data.list ?? [];
        const isLastOne = known.maybe !== undefined && list.at(-1) === known.maybe;
        expect(list, shown).toEqual(isLastOne ? [...known.list, known.maybe] : known.list);
        expect(data.count ?? 0, shown).toBeGreaterThanOrEqual(known.least);
        expect(data.count ?? 0, shown).toBeLessThanOrEqual(known.most);
        known = { list, maybe: undefined, least: data.count ?? 0, most: data.count ?? 0 };
      }
      tally("T9", "lost answers, nothing done twice", proxy.lost);
      tally("T9", "of them answered with a 503", unknown);
    },
    times(600_000, 1_800_000),
  );
});
