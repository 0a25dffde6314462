/** The judge of the index soak: what it must find is planted, and what only the passing of time explains is no fault. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from "vitest";
import { createSessions } from "../../src/index.ts";
import { ownerOf } from "../../src/principals.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { signIn } from "../../src/testing/index.ts";
import { expectDone } from "../support/in-time.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";
import { judge, letTimePass, stopTime } from "./index-judge.mjs";

const user = "ada";
const set = `holdfast:p:{${ownerOf(user)}}`;
const nobodys = "n".repeat(43);
const hour = 3_600_000;

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});
beforeEach(() => redis.flushall());

/** So many sessions of one user, and what judges her index. */
async function sessionsOf(count: number, lifetimes = { ttl: hour, absoluteTimeout: 3 * hour, touchInterval: 60_000 }) {
  const principal = (data: object) => String(Object.values(data)[0]);
  const sessions = createSessions({
    secret: "a secret of the judge's own tests, 32 characters",
    store: redisStore(server.url),
    principal,
    ...lifetimes,
  });
  onTestFinished(() => sessions.close());
  const ids: string[] = [];
  for (let at = 0; at < count; at++) ids.push((await signIn(sessions, { user })).id);
  const judged = (instant: Awaited<ReturnType<typeof stopTime>>, most?: number) =>
    judge(redis, instant, {
      url: server.url,
      users: [user, "bob"],
      hasLived: (id) => ids.includes(id),
      mostOf: () => most,
      lifetimes,
    });
  return { sessions, ids, judged, first: ids[0] ?? "", second: ids[1] ?? "" };
}

it("an index that names what lives has no fault, with the names of ended sessions and of logins given up", async () => {
  const { sessions, ids, judged, first } = await sessionsOf(3);
  await sessions.destroy(first, { principal: user });
  const soon = Date.now() + 9_000;
  // A touch that was late, and a login whose process died.
  await redis.zadd(set, soon, first, soon, `${nobodys}<`);
  const instant = await stopTime(redis);
  expect([...instant.live.keys()].sort()).toEqual(ids.slice(1).sort());
  expect(await judged(instant, 2)).toEqual([]);
});

it("sessions whose deadlines pass while the judge looks are no fault, and end when it has", async () => {
  const { judged } = await sessionsOf(4, { ttl: 2_000, absoluteTimeout: 4_000, touchInterval: 100 });
  const instant = await stopTime(redis);
  const last = Math.max(...[...instant.live.values()].map((session) => session.until));
  await until(async () => Number((await redis.time())[0]) * 1_000 > last, "all deadlines are over");
  expectDone(instant.live.size, 3, "sessions that lived when time stood still");
  expect(await judged(instant)).toEqual([]);

  await letTimePass(redis, instant);
  const later = await stopTime(redis);
  expect(later.live.size).toBe(0);
  expect(await judged(later)).toEqual([]);
  expect(await redis.exists(set)).toBe(0);
});

it.each<[string, (first: string, second: string) => Promise<unknown>, string[]]>([
  [
    "the name of a session that lives was dropped",
    (first) => redis.zrem(set, first),
    [
      "ada: 1 sessions without a name that lasts as long, 3 live",
      "ada: 2 listed, 3 live",
      "ada: 2 names once they were read, 3 live",
    ],
  ],
  [
    "the name of a session that lives was never confirmed",
    async (first) => [await redis.zrem(set, first), await redis.zadd(set, Date.now() + 9_000, `${first}<`)],
    ["ada: 1 sessions without a name that lasts as long, 3 live"],
  ],
  [
    "the name of a session that lives lapses before it does",
    (first) => redis.zadd(set, Date.now() + hour / 2, first),
    ["ada: 1 sessions without a name that lasts as long, 3 live"],
  ],
  [
    "a session that never was has a name",
    () => redis.zadd(set, Date.now() + hour, nobodys),
    ["ada: 1 names of sessions that never were, 3 live"],
  ],
  [
    "a session that has ended keeps its name when the index is read",
    async (first, second) => [
      await redis.del(`holdfast:${first}`),
      await redis.zadd(set, Date.now() + 9_000, `${second}<${first}`),
    ],
    ["ada: 3 listed, 2 live", "ada: 4 names once they were read, 2 live"],
  ],
  [
    "a name outlasts every session",
    (first) => redis.zadd(set, Date.now() + 9 * hour, first),
    ["ada: 1 names that outlast any session, 3 live"],
  ],
  [
    "a session has no TTL",
    (first) => redis.persist(`holdfast:${first}`),
    [expect.stringMatching(/^holdfast:...… has no TTL$/)],
  ],
  [
    "a session that lives is not found, as its record names another",
    (first) => redis.setrange(`holdfast:${first}`, 3, "______"),
    ["ada: 2 listed, 3 live", "a session that lives is not found by its id"],
  ],
])("the judge finds that %s", async (_, plant, faults) => {
  const { judged, first, second } = await sessionsOf(3);
  await plant(first, second);
  expect(await judged(await stopTime(redis))).toEqual(faults);
});

it("the judge finds one session more than a user may have", async () => {
  const { judged } = await sessionsOf(3);
  expect(await judged(await stopTime(redis), 2)).toEqual(["ada: at most 2 may be, 3 live"]);
});
