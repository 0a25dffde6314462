// @ts-check
/**
 * `npm run bench:clients`: what a Redis client's settings do to a session's read and change: auto-pipelining, RESP2 and
 * RESP3, replies as Buffers or as strings, one, two and four connections, ioredis 5 and 6, node-redis 5 and 6, and the
 * URL form. The figures behind `.github/guide/redis-clients.md`.
 *
 *   node test/bench/clients.mjs [--rounds N] [--operations N] [--only words]
 *
 * The store alone, without HTTP, on a redis-server of its own, with 1 caller and with 32 at once. A round runs every
 * setting once, in an order that rotates; medians of rounds are printed. CPU is this process's, in µs per operation.
 */
import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createClient } from "redis";
import { createClient as createClient5 } from "redis5";
import { rate } from "./figures.mjs";
import { describeMachine, pin, startRedis } from "./machine.mjs";
import { layOut, median } from "./report.mjs";
import { signedIn } from "./servers/server.mjs";

const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "7" },
    operations: { type: "string", default: "3200" },
    only: { type: "string", default: "" },
  },
});
const [rounds, operations] = [Number(flags.rounds), Number(flags.operations)];

const { redisStore } = await import("holdfast/redis");
const pinning = pin();
const redis = await startRedis(pinning);
const about = await describeMachine(redis.client, pinning);
const port = Number(new URL(redis.url).port);
const day = 86_400_000;
const payload = Buffer.from(`\n${JSON.stringify(signedIn())}`);
const keys = Array.from({ length: 64 }, () => randomBytes(32).toString("base64url"));
const call = () => ({ deadline: performance.now() + 10_000, durable: false });

/** As `redisStore(url)` sets its own client, but for what is compared. */
const tuned = { commandTimeout: 5_000, socketTimeout: 2_500, maxRetriesPerRequest: 0, enableOfflineQueue: true };
const socket = { socketTimeout: 2_500 };

/**
 * @typedef {{ read(key: string): Promise<unknown>, change?(key: string): Promise<void>, close(): Promise<unknown> | void }} Subject
 * @typedef {{ name: string, make: () => Promise<Subject> }} Setting
 */

/**
 * A store on each of some clients, used in turn.
 *
 * @param {readonly any[]} clients what `redisStore` takes
 * @param {() => unknown} close
 * @returns {Subject}
 */
function stored(clients, close) {
  const stores = clients.map((client) => redisStore(client));
  let turn = 0;
  const next = () => {
    const store = stores[turn++ % stores.length];
    if (store === undefined) throw new Error("no store");
    return store;
  };
  return {
    async read(key) {
      const record = await next().read(key, call());
      if (record?.kind !== "live") throw new Error("a session was not read");
    },
    async change(key) {
      const store = next();
      const record = await store.read(key, call());
      if (record?.kind !== "live") throw new Error("a session was not read");
      await store.write(key, { ...record, payload }, record.version, call());
    },
    async close() {
      for (const store of stores) await store.close?.();
      await close();
    },
  };
}

/** @param {(port: number, options: object) => Redis | Redis5} create @param {object} options @param {number} [count] */
function ioredis(create, options, count = 1) {
  return async () => {
    const clients = Array.from({ length: count }, () => create(port, { ...tuned, ...options }));
    await Promise.all(clients.map((client) => client.ping()));
    return stored(clients, () => clients.forEach((client) => void client.disconnect()));
  };
}

/** @param {() => any} create */
function nodeRedis(create) {
  return async () => {
    const client = create();
    await client.connect();
    return stored([client], () => client.destroy());
  };
}

/**
 * The client alone, one command, and the reply as it comes.
 *
 * @param {"get" | "getBuffer"} command
 * @param {object} options
 */
function raw(command, options) {
  return async () => {
    const client = new Redis(port, { ...tuned, ...options });
    await client.ping();
    return {
      read: (/** @type {string} */ key) => client[command](`holdfast:${key}`),
      close: () => client.disconnect(),
    };
  };
}

const six = (/** @type {number} */ at, /** @type {object} */ options) => new Redis(at, options);
const five = (/** @type {number} */ at, /** @type {object} */ options) => new Redis5(at, options);
const batching = { enableAutoPipelining: true };

/** @type {Setting[]} */
const all = [
  { name: "URL", make: async () => stored([redis.url], () => {}) },
  { name: "ioredis 6", make: ioredis(six, {}) },
  { name: "ioredis 6, RESP2", make: ioredis(six, { protocol: 2 }) },
  { name: "ioredis 6, auto-pipelining", make: ioredis(six, batching) },
  { name: "ioredis 6, auto-pipelining, RESP2", make: ioredis(six, { ...batching, protocol: 2 }) },
  { name: "ioredis 6, auto-pipelining, 2 connections", make: ioredis(six, batching, 2) },
  { name: "ioredis 6, auto-pipelining, 4 connections", make: ioredis(six, batching, 4) },
  { name: "ioredis 6, 2 connections", make: ioredis(six, {}, 2) },
  { name: "ioredis 6, 4 connections", make: ioredis(six, {}, 4) },
  { name: "ioredis 5", make: ioredis(five, {}) },
  { name: "ioredis 5, auto-pipelining", make: ioredis(five, batching) },
  { name: "node-redis 6", make: nodeRedis(() => createClient({ url: redis.url, socket })) },
  { name: "node-redis 6, RESP2", make: nodeRedis(() => createClient({ url: redis.url, socket, RESP: 2 })) },
  {
    name: "node-redis 6, no command timeout",
    make: nodeRedis(() => createClient({ url: redis.url, socket, commandOptions: { timeout: 0 } })),
  },
  { name: "node-redis 5", make: nodeRedis(() => createClient5({ url: redis.url, socket })) },
  { name: "client alone: GET, a string", make: raw("get", batching) },
  { name: "client alone: GET, a Buffer", make: raw("getBuffer", batching) },
];
const settings = all.filter(({ name }) => flags.only.split(",").some((word) => name.includes(word)));

/** @typedef {{ perSecond: number, hereUs: number, redisUs: number }} Figures */

/**
 * @param {(key: string) => Promise<unknown>} operation
 * @param {number} atOnce
 * @returns {Promise<Figures>}
 */
async function measure(operation, atOnce) {
  // No key twice at a time: parallel reads of one session share a command.
  let turn = 0;
  const started = performance.now();
  const count = atOnce === 1 ? operations / 4 : operations;
  const cost = await rate(
    redis.client,
    count,
    async () => void (await operation(keys[turn++ % keys.length] ?? "")),
    atOnce,
  );
  return { perSecond: (count / (performance.now() - started)) * 1_000, ...cost };
}

const seed = redisStore(redis.url);
for (const key of keys) {
  const now = seed.now();
  const stamps = { createdAt: now, touchedAt: now, expiresAt: now + day, absoluteExpiresAt: now + 30 * day };
  await seed.write(key, { kind: "live", ...stamps, payload }, "absent", call());
}
await seed.close?.();

const work = [
  { name: "read, 1 at a time", atOnce: 1, isChange: false },
  { name: "read, 32 at once", atOnce: 32, isChange: false },
  { name: "change, 32 at once", atOnce: 32, isChange: true },
];
const subjects = await Promise.all(settings.map(async ({ name, make }) => ({ name, subject: await make() })));
/** @type {Map<string, Figures[]>} */
const samples = new Map();
for (let round = -1; round < rounds; round += 1) {
  process.stderr.write(round < 0 ? "warm-up\n" : `round ${round + 1} of ${rounds}\n`);
  for (let turn = 0; turn < subjects.length; turn += 1) {
    const { name, subject } = subjects[(Math.max(0, round) + turn) % subjects.length] ?? { name: "" };
    for (const { name: what, atOnce, isChange } of work) {
      const operation = isChange ? subject?.change : subject?.read;
      if (operation === undefined) continue;
      const figures = await measure(operation, atOnce);
      const cell = `${name} | ${what}`;
      if (round >= 0) samples.set(cell, [...(samples.get(cell) ?? []), figures]);
    }
  }
}
await Promise.all(subjects.map(({ subject }) => subject.close()));
await redis.stop();

console.log(
  `${about.machine}\n${about.versions}\n${rounds} rounds of ${operations} operations, ${payload.length} bytes a session`,
);
console.log("CPU µs here / Redis's µs, per operation; and operations a second\n");
const cells = settings.map(({ name }) => [
  name,
  ...work.map(({ name: what }) => {
    const figures = samples.get(`${name} | ${what}`);
    if (figures === undefined) return "";
    const [here, there] = [figures.map(({ hereUs }) => hereUs), figures.map(({ redisUs }) => redisUs)];
    const perSecond = median(figures.map((each) => each.perSecond));
    return `${median(here).toFixed(1)} / ${median(there).toFixed(1)}; ${perSecond.toFixed(0)}`;
  }),
]);
console.log(layOut(["client", ...work.map(({ name }) => name)], cells));
