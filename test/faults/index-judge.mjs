// @ts-check
/**
 * Whether the indexes of users name exactly the sessions that live, judged by what stands in Redis at one instant. Two
 * looks, one after the other, would take a session for lost that expires between them. So time stands still while the
 * judge looks: one script reads every key and takes its TTL away, and whoever is asked afterwards has that script's time
 * for a clock. Called by index-soak.mjs, once its engines are closed; index-judge.test.ts plants what it must find.
 */
import { createHash } from "node:crypto";
import { createSessions } from "holdfast";
import { redisStore } from "holdfast/redis";

/**
 * @typedef {object} Instant all keys, as of `now`
 * @property {number} now epoch ms, by Redis's clock
 * @property {Map<string, number>} deadlines when each key lapses by its TTL
 * @property {Map<string, { id: string, principal: string | undefined, until: number }>} live by id: the sessions whose
 *   deadline is to come
 * @property {Map<string, { id: string, isConfirmed: boolean, until: number }[]>} names by key: what each set holds
 * @property {string[]} faults keys without a TTL
 */

/**
 * @typedef {object} Question
 * @property {string} url of the Redis
 * @property {Iterable<string>} users
 * @property {(id: string) => boolean} hasLived whether a session ever had this public id
 * @property {(user: string) => number | undefined} mostOf the user's `maxSessions`
 * @property {{ ttl: number, absoluteTimeout: number, touchInterval: number }} lifetimes of the engines that wrote, ms
 */

/** What the engines store under. */
const prefix = "holdfast:";
/** Of a record in Redis: fixed columns, times in base 36. */
const header = { length: 69, expiresAt: /** @type {const} */ ([51, 60]), absolute: /** @type {const} */ ([60, 69]) };
/** How long a name that is not confirmed may stay, beside two `touchInterval`. */
const writingMs = 10_000;
/** A node's clock may be ahead of Redis's, by no more than its first answer took. */
const clockMs = 5_000;

// All keys, with what they hold and how long they would live; from here on they don't lapse.
const stopScript = `
local time = redis.call('TIME')
local all = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  local left = redis.call('PTTL', key)
  local is_set = redis.call('TYPE', key).ok == 'zset'
  all[#all + 1] = { key, left, is_set and redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') or redis.call('GET', key) }
  redis.call('PERSIST', key)
end
return { tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), all }`;

/** @param {string} user */
function setOf(user) {
  return `${prefix}p:{${createHash("sha256").update(`holdfast principal\0${user}`).digest("base64url")}}`;
}

/**
 * Stops time: nothing may write any more, and nothing lapses.
 *
 * @param {import("ioredis").Redis} direct
 * @returns {Promise<Instant>}
 */
export async function stopTime(direct) {
  const [now, all] = /** @type {[number, [string, number, string | string[]][]]} */ (
    await direct.eval(stopScript, 0, `${prefix}*`)
  );
  /** @type {Instant} */
  const instant = { now, deadlines: new Map(), live: new Map(), names: new Map(), faults: [] };
  for (const [key, left, value] of all) {
    if (left >= 0) instant.deadlines.set(key, now + left);
    else instant.faults.push(`${key.slice(0, 12)}… has no TTL`);
    if (typeof value !== "string") instant.names.set(key, namesIn(value));
    else if (value.startsWith("H1L") && deadlineOf(value) > now) {
      const id = key.slice(prefix.length);
      const [line] = value.slice(header.length).split("\n", 1);
      instant.live.set(id, { id, principal: JSON.parse(line || "{}").principal, until: deadlineOf(value) });
    }
  }
  return instant;
}

/**
 * Gives the keys that are there still their deadlines back: what is past them goes at once.
 *
 * @param {import("ioredis").Redis} direct
 * @param {Instant} instant
 */
export async function letTimePass(direct, { deadlines }) {
  const pipeline = direct.pipeline();
  for (const [key, at] of deadlines) pipeline.pexpireat(key, at);
  for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
}

/**
 * What is wrong with the indexes while time stands still; nothing, where they name exactly what lives. A name whose
 * session has ended is no fault until somebody has read the index, and one that was never confirmed, of a login that was
 * refused or given up, none until it lapses.
 *
 * @param {import("ioredis").Redis} direct
 * @param {Instant} instant
 * @param {Question} question
 */
export async function judge(direct, instant, { url, users, hasLived, mostOf, lifetimes }) {
  const { now } = instant;
  const sessions = createSessions({
    secret: "a secret of the judge, who signs nothing, 32 characters and more",
    store: redisStore(url, { clock: () => now }),
    storeTimeout: "20s",
    principal: () => undefined,
    ...lifetimes,
  });
  const faults = [...instant.faults];
  for (const user of users) {
    const live = [...instant.live.values()].filter(({ principal }) => principal === user);
    const ids = live.map(({ id }) => id);
    const names = instant.names.get(setOf(user)) ?? [];
    const say = (/** @type {string} */ what) => faults.push(`${user}: ${what}, ${live.length} live`);

    const isNamed = (/** @type {{ id: string, until: number }} */ { id, until }) =>
      names.some((name) => name.id === id && name.isConfirmed && name.until >= until);
    const unnamed = live.filter((session) => !isNamed(session));
    if (unnamed.length > 0) say(`${unnamed.length} sessions without a name that lasts as long`);
    const invented = names.filter(({ id, isConfirmed }) => isConfirmed && !hasLived(id));
    if (invented.length > 0) say(`${invented.length} names of sessions that never were`);
    const longest = { confirmed: lifetimes.absoluteTimeout, other: writingMs + 2 * lifetimes.touchInterval };
    const overlong = names.filter(
      (name) => name.until - now > clockMs + longest[name.isConfirmed ? "confirmed" : "other"],
    );
    if (overlong.length > 0) say(`${overlong.length} names that outlast any session`);

    const listed = (await sessions.list(user)).map(({ id }) => id);
    if (!isSame(listed, ids)) say(`${listed.length} listed`);
    const left = namesIn(await direct.zrange(setOf(user), "0", "-1", "WITHSCORES"));
    const settled = left.filter(({ id, isConfirmed, until }) => isConfirmed || ids.includes(id) || until <= now);
    const wanted = settled.map(({ id }) => id);
    if (!isSame(wanted, ids)) say(`${wanted.length} names once they were read`);
    const most = mostOf(user);
    if (most !== undefined && live.length > most) say(`at most ${most} may be`);
  }
  for (const id of instant.live.keys()) {
    if ((await sessions.get(id))?.id !== id) faults.push("a session that lives is not found by its id");
  }
  await sessions.close();
  return faults;
}

/** @param {string} record of a live session: the earlier of its idle and its absolute deadline, where it has one */
function deadlineOf(record) {
  const expiresAt = Number.parseInt(record.slice(...header.expiresAt), 36);
  return Math.min(expiresAt, Number.parseInt(record.slice(...header.absolute), 36) || expiresAt);
}

/** @param {string[]} flat names and scores in turn */
function namesIn(flat) {
  return Array.from({ length: flat.length / 2 }, (_, at) => {
    const name = String(flat[2 * at]);
    return { id: String(name.split("<", 1)), isConfirmed: !name.includes("<"), until: Number(flat[2 * at + 1]) };
  });
}

/**
 * @param {readonly string[]} some
 * @param {readonly string[]} others
 */
function isSame(some, others) {
  return JSON.stringify([...some].sort()) === JSON.stringify([...others].sort());
}
