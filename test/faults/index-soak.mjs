// @ts-check
/**
 * Logins, renewals, revocations, logouts, expiries and limits, at random, against a Redis of its own: at the end the
 * indexes must name exactly the sessions that live.
 *
 * $ node test/faults/index-soak.mjs --seconds 300
 *
 * Two engines, as on two nodes; half of the users have `maxSessions`. Sessions live for `--ttl` ms idle (two seconds)
 * and three times that in all, so that many expire meanwhile. Prints its seed and what was done; ends with status 1 when
 * a name or a session is wrong, by index-judge.mjs.
 */
import { spawn } from "node:child_process";
import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createSessions } from "holdfast";
import { redisStore } from "holdfast/redis";
import { Redis } from "ioredis";
import { freePort } from "../../examples/cluster/free-port.mjs";
import { seeded } from "../support/seeded.mjs";
import { judge, letTimePass, stopTime } from "./index-judge.mjs";

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

const lifetimes = { ttl, absoluteTimeout: 3 * ttl, touchInterval: ttl / 20 };
/** @param {object} more */
const engine = (more) =>
  createSessions({
    secret: "a secret of the index soak, 32 characters and more",
    store: redisStore(url),
    ...lifetimes,
    renewalTimeout: ttl * 0.75,
    storeTimeout: "20s",
    principal: (data) => /** @type {{ userId?: string }} */ (data).userId,
    ...more,
  });
const free = [engine({}), engine({})];
const limited = [engine({ maxSessions: most }), engine({ maxSessions: most })];
const engines = [...free, ...limited];
/** Public ids of all sessions that ever were. @type {Set<string>} */
const lived = new Set();
for (const sessions of engines) {
  sessions.on("created", ({ id }) => lived.add(id));
  sessions.on("renewed", ({ id }) => lived.add(id));
}

/** @type {Record<string, number>} */
const done = {};
const draw = seeded(seed);
/** The cookies of each user's sessions, as browsers would have them. @type {Map<string, Set<string>>} */
const jars = new Map(Array.from({ length: userCount }, (_, at) => [`user-${at}`, new Set()]));

/** @param {string} user */
const isLimited = (user) => Number(user.slice(5)) % 2 === 1;
/** @param {string} user */
const engineOf = (user) => (isLimited(user) ? limited : free)[draw() < 0.5 ? 0 : 1] ?? engine({});

/** Epoch ms, by Redis's clock. */
async function redisNow() {
  const [seconds, microseconds] = await direct.time();
  return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
}

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

// What nobody waits for, a touch or a name that is refreshed, is waited for here: from now on nothing changes but by time.
for (const sessions of engines) await sessions.close({ timeout: "60s" });

/** @param {string} user */
const mostOf = (user) => (isLimited(user) ? most : undefined);
const question = {
  url,
  users: [...jars.keys()],
  hasLived: (/** @type {string} */ id) => lived.has(id),
  mostOf,
  lifetimes,
};
const instant = await stopTime(direct);
const faults = await judge(direct, instant, question);
const owners = [...instant.live.values()].map(({ principal }) => principal);
const perLimited = [...jars.keys()].filter(isLimited).map((user) => owners.filter((owner) => owner === user).length);
await letTimePass(direct, instant);

// When all have run out nothing may be left but what tells of ends, and that has a TTL.
const ends = [...instant.live.values(), ...[...instant.names.values()].flat()].map(({ until }) => until);
while ((await redisNow()) < Math.max(0, ...ends)) await delay(50);
const later = await stopTime(direct);
faults.push(...(await judge(direct, later, question)));
if (later.live.size > 0) faults.push(`${later.live.size} sessions after all ran out`);
const sets = (await direct.keys("holdfast:p:*")).filter((key) => !key.endsWith(":bar"));
if (sets.length > 0) faults.push(`${sets.length} sets of names are left after all sessions ran out`);

const figures = { live: instant.live.size, mostOfOneLimited: Math.max(...perLimited) };
console.log(JSON.stringify({ seed, seconds: Number(values.seconds), done, ...figures, faults }));
direct.disconnect();
server.kill();
process.exitCode = faults.length === 0 ? 0 : 1;
