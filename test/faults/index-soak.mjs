// @ts-check
/**
 * Logins, renewals, revocations, logouts, expiries and limits, at random, against a Redis of its own: at the end the
 * indexes must name exactly the sessions that live.
 *
 * $ node test/faults/index-soak.mjs --seconds 300
 *
 * Two engines, as on two nodes; half of the users have `maxSessions`. Sessions live for `--ttl` ms idle (two seconds)
 * and three times that in all, so that many expire meanwhile. Prints its seed and what was done; ends with status 1 when a name or a session is wrong.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createSessions } from "holdfast";
import { redisStore } from "holdfast/redis";
import { Redis } from "ioredis";
import { freePort } from "../../examples/cluster/free-port.mjs";
import { seeded } from "../support/seeded.mjs";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "300" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    workers: { type: "string", default: "16" },
    ttl: { type: "string", default: "2000" },
  },
});
const seed = Number(values.seed);
const ttl = Number(values.ttl);
const most = 3;
const userCount = 30;

const port = await freePort();
const url = `redis://127.0.0.1:${port}`;
const server = spawn("redis-server", ["--port", String(port), "--save", "", "--appendonly", "no"], { stdio: "ignore" });
const direct = new Redis(url, { retryStrategy: () => 50 });
direct.on("error", () => {});
while ((await direct.ping().catch(() => "")) !== "PONG") await delay(50);

/** @param {object} more */
const engine = (more) =>
  createSessions({
    secret: "a secret of the index soak, 32 characters and more",
    store: redisStore(url),
    ttl,
    absoluteTimeout: 3 * ttl,
    touchInterval: ttl / 20,
    renewalTimeout: ttl * 0.75,
    storeTimeout: "20s",
    principal: (data) => /** @type {{ userId?: string }} */ (data).userId,
    ...more,
  });
const free = [engine({}), engine({})];
const limited = [engine({ maxSessions: most }), engine({ maxSessions: most })];

/** @type {Record<string, number>} */
const done = {};
const draw = seeded(seed);
/** The cookies of each user's sessions, as browsers would have them. @type {Map<string, Set<string>>} */
const jars = new Map(Array.from({ length: userCount }, (_, at) => [`user-${at}`, new Set()]));

/** @param {string} user */
const engineOf = (user) => (Number(user.slice(5)) % 2 === 0 ? free : limited)[draw() < 0.5 ? 0 : 1] ?? engine({});

/**
 * @param {import("holdfast").Sessions} sessions
 * @param {string | undefined} cookieHeader
 * @param {(session: import("holdfast").UserSession & Record<string, unknown>) => unknown} handler
 */
async function request(sessions, cookieHeader, handler) {
  /** @type {Map<string, string | string[]>} */
  const headers = new Map();
  const visit = sessions.visit({
    cookieHeader,
    secure: true,
    address: undefined,
    headersSent: false,
    getHeader: (name) => headers.get(name),
    setHeader: (name, value) => void headers.set(name, value),
    raw: new IncomingMessage(new Socket()),
  });
  await handler(/** @type {never} */ (await visit.load()));
  await visit.commit();
  await visit.finish();
  return [headers.get("set-cookie") ?? []].flat()[0]?.split(";", 1)[0];
}

async function act() {
  const user = `user-${Math.floor(draw() * userCount)}`;
  const jar = jars.get(user) ?? new Set();
  const sessions = engineOf(user);
  const cookie = [...jar][Math.floor(draw() * jar.size)];
  const kind = draw();
  const name =
    kind < 0.35 || cookie === undefined
      ? "login"
      : kind < 0.5
        ? "renew"
        : kind < 0.75
          ? "use"
          : kind < 0.85
            ? "logout"
            : kind < 0.93
              ? "revoke"
              : "revoke all";
  done[name] = (done[name] ?? 0) + 1;
  if (name === "login") {
    const got = await request(sessions, undefined, (session) => Object.assign(session, { userId: user }));
    if (got) jar.add(got);
  } else if (name === "logout") {
    jar.delete(String(cookie));
    await request(sessions, cookie, (session) => session.destroy());
  } else if (name === "revoke") {
    const [first] = await sessions.list(user);
    if (first) await sessions.destroy(first.id, { principal: user });
  } else if (name === "revoke all") {
    const [first] = await sessions.list(user);
    await sessions.destroyAll(user, draw() < 0.5 && first ? { except: first.id } : {});
  } else {
    const got = await request(sessions, cookie, (session) => {
      if (session["userId"] !== user) return undefined;
      return name === "renew" ? session.renew() : Object.assign(session, { at: draw() });
    });
    if (got) {
      jar.delete(String(cookie));
      if (!got.endsWith("=")) jar.add(got);
    }
  }
}

const end = performance.now() + Number(values.seconds) * 1_000;
await Promise.all(
  Array.from({ length: Number(values.workers) }, async () => {
    while (performance.now() < end) {
      await act().catch((error) => {
        // A login that a revocation overtook; anything else is a fault.
        if (error?.code !== "ERR_SESSION_GONE") throw error;
        done["refused"] = (done["refused"] ?? 0) + 1;
      });
    }
  }),
);

/**
 * The names in a user's set, healed by a list. A name that comes late (nobody waits for a refresh) takes another one.
 *
 * @param {string} user
 */
async function namesOf(user) {
  const owner = createHash("sha256").update(`holdfast principal\0${user}`).digest("base64url");
  for (let tries = 0; ; tries++) {
    const listed = await free[0]?.list(user);
    const names = await direct.zrange(`holdfast:p:{${owner}}`, "0", "-1");
    const gone = names.filter((name) => !listed?.some(({ id }) => id === name));
    if (gone.length === 0 || tries === 20) return { names, gone };
    await delay(50);
  }
}

/** @type {string[]} */
const faults = [];
let live = 0;
let named = 0;
let mostSeen = 0;
/** What lives, by the records themselves. @type {Map<string, string[]>} */
const living = new Map();
const keys = (await direct.keys("holdfast:*")).filter((key) => key.length === "holdfast:".length + 43);
for (let from = 0; from < keys.length; from += 1_000) {
  const batch = keys.slice(from, from + 1_000);
  for (const [at, record] of (await direct.mget(batch)).entries()) {
    // A live record, and the line before its data.
    const user = record?.startsWith("H1L") ? /"principal":"(user-\d+)"/.exec(record)?.[1] : undefined;
    if (user) living.set(user, [...(living.get(user) ?? []), String(batch[at]?.slice("holdfast:".length))]);
  }
}
const before = new Map();
for (const user of jars.keys()) before.set(user, (await free[0]?.list(user))?.map(({ id }) => id).sort() ?? []);
for (const [user, listed] of before) {
  // What expired between the two looks is no fault.
  /** @type {string[]} */
  const alive = [];
  for (const id of new Set([...listed, ...(living.get(user) ?? [])]))
    if ((await free[0]?.get(id))?.id === id) alive.push(id);
  const still = (/** @type {string[]} */ ids) => ids.filter((id) => alive.includes(id)).sort();
  live += alive.length;
  if (JSON.stringify(still(listed)) !== JSON.stringify(alive.sort())) {
    faults.push(`${user}: ${listed.length} listed, ${alive.length} live`);
  }
  const { names, gone } = await namesOf(user);
  if (JSON.stringify(still(names)) !== JSON.stringify(alive) || gone.length > 0) {
    faults.push(`${user}: ${names.length} names, ${alive.length} live`);
  }
  if (Number(user.slice(5)) % 2 === 1) {
    mostSeen = Math.max(mostSeen, alive.length);
    if (alive.length > most) faults.push(`${user}: ${alive.length} sessions, ${most} may be`);
  }
}
// When all have run out nothing may be left but the indexes' own ends.
await delay(4 * ttl);
for (const user of jars.keys()) {
  const left = await free[0]?.list(user);
  if (left?.length !== 0) faults.push(`${user}: ${left?.length} sessions after all ran out`);
}
const sets = (await direct.keys("holdfast:p:*")).filter((key) => !key.endsWith(":bar"));
for (const set of sets) named += await direct.zcard(set);
if (named > 0) faults.push(`${named} names are left in ${sets.length} sets after all sessions ran out`);
for (const key of await direct.keys("holdfast:*")) {
  if ((await direct.pttl(key)) === -1) faults.push(`${key.slice(0, 12)}… has no TTL`);
}

console.log(JSON.stringify({ seed, seconds: Number(values.seconds), done, live, mostOfOneLimited: mostSeen, faults }));
for (const sessions of [...free, ...limited]) await sessions.close();
direct.disconnect();
server.kill();
process.exitCode = faults.length === 0 ? 0 : 1;
