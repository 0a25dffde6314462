// @ts-check
/**
 * `npm run bench:scale`: what many sessions cost. Bytes in Redis for each session above its payload, beside
 * connect-redis on the same data; CPU for a read and a write as their number grows; the commands that were used; memory
 * of a process with a full near cache; large sessions; throughput of 1, 2 and 4 app processes. The figures behind `.github/scale.md`.
 *
 *   node --expose-gc test/bench/scale.mjs [--sizes 10000,100000,1000000] [--cached 100000] [--operations 20000] [--apps 1,2,4]
 *
 * It runs the built package (`dist/`) on a redis-server of its own. Fails where a command was used that walks the keys.
 */
import { randomBytes, randomInt } from "node:crypto";
import process from "node:process";
import { parseArgs } from "node:util";
import { memoryOf, rate, usedCommands } from "./figures.mjs";
import { large } from "./large.mjs";
import { load } from "./load.mjs";
import { describeMachine, redisCpuUs, startRedis, startTarget } from "./machine.mjs";
import { signedIn } from "./servers/server.mjs";
import { signIn } from "./verify.mjs";

const { values: flags } = parseArgs({
  options: {
    sizes: { type: "string", default: "10000,100000,1000000" },
    cached: { type: "string", default: "100000" },
    operations: { type: "string", default: "20000" },
    apps: { type: "string", default: "1,2,4" },
  },
});
const sizes = flags.sizes.split(",").map(Number);
const appCounts = flags.apps.split(",").map(Number);
const cached = Number(flags.cached);
const operations = Number(flags.operations);
if (![...sizes, ...appCounts, cached, operations].every((count) => Number.isInteger(count) && count > 0)) {
  throw new Error("--sizes, --apps, --cached and --operations take whole numbers from 1");
}

const { redisStore } = await import("holdfast/redis");
const { nearCache } = await import("holdfast/near-cache");
const unpinned = { server: [], others: [], said: "not pinned: two cores for all" };
const redis = await startRedis(unpinned);
const about = await describeMachine(redis.client, unpinned);
console.log(`${about.machine}\n${about.versions}\n`);

const day = 86_400_000;
/**
 * What sessions hold here: the bench's login, and a note of 0 to 255 characters. Redis's allocator has sizes 64 bytes
 * apart: with one length for all, the figures would say which side of a step it fell on.
 */
const contents = Array.from({ length: 256 }, (_, length) => ({ ...signedIn(), note: "n".repeat(length) }));
const payloads = contents.map((data) => Buffer.from(`\n${JSON.stringify(data)}`));
const meanBytes = payloads.reduce((sum, { length }) => sum + length - 1, 0) / payloads.length;

const call = () => ({ deadline: performance.now() + 10_000, durable: false });

/**
 * @param {import("holdfast").Store} store
 * @param {number} index
 */
function freshRecord(store, index) {
  const payload = payloads[index % payloads.length] ?? Buffer.of();
  const now = store.now();
  return /** @type {const} */ ({
    kind: "live",
    createdAt: now,
    touchedAt: now,
    expiresAt: now + day,
    absoluteExpiresAt: now + 30 * day,
    payload,
  });
}

/**
 * @param {number} count
 * @param {(index: number) => Promise<unknown>} work
 * @param {number} atOnce
 */
async function many(count, work, atOnce = 500) {
  for (let from = 0; from < count; from += atOnce) {
    const batch = Math.min(atOnce, count - from);
    await Promise.all(Array.from({ length: batch }, (_, index) => work(from + index)));
  }
}

/** @param {number} count */
async function ours(count) {
  await redis.client.flushall();
  const empty = await memoryOf(redis.client);
  const store = redisStore(redis.url);
  const keys = Array.from({ length: count }, () => randomBytes(32).toString("base64url"));
  await many(count, async (index) => {
    const result = await store.write(keys[index] ?? "", freshRecord(store, index), "absent", call());
    if (!result.ok) throw new Error("a session was not written");
  });
  const bytes = (await memoryOf(redis.client)) - empty;
  const pick = () => keys[randomInt(count)] ?? "";
  const read = await rate(redis.client, operations, async () => {
    const record = await store.read(pick(), call());
    if (record?.kind !== "live") throw new Error("a session was not read");
  });
  const write = await rate(redis.client, operations, async () => {
    const key = pick();
    const record = await store.read(key, call());
    if (record?.kind !== "live") throw new Error("a session was not read");
    await store.write(key, freshRecord(store, randomInt(256)), record.version, call());
  });
  await store.close?.();
  return { keys, bytes, read, write };
}

/** @param {number} count */
async function connectRedis(count) {
  await redis.client.flushall();
  const empty = await memoryOf(redis.client);
  const { RedisStore } = await import("connect-redis");
  const { createClient } = await import("redis");
  const client = createClient({ url: redis.url });
  await client.connect();
  const store = new RedisStore({ client });
  const cookie = { originalMaxAge: day, expires: new Date(Date.now() + day), httpOnly: true, path: "/" };
  await many(count, (index) =>
    store.set(randomBytes(24).toString("base64url"), /** @type {any} */ ({ cookie, ...contents[index % 256] })),
  );
  const bytes = (await memoryOf(redis.client)) - empty;
  await client.close();
  return bytes;
}

/** @param {readonly string[]} keys */
async function nearCached(keys) {
  const count = Math.min(cached, keys.length);
  const store = nearCache(redisStore(redis.url), { max: count });
  await untilCoherent(store, keys[0] ?? "");
  globalThis.gc?.();
  const before = process.memoryUsage();
  await many(count, (index) => store.read(keys[index] ?? "", call()));
  globalThis.gc?.();
  const after = process.memoryUsage();
  const started = await usedCommands(redis.client);
  await many(count, (index) => store.read(keys[index] ?? "", call()));
  const reads = ((await usedCommands(redis.client)).get("get") ?? 0) - (started.get("get") ?? 0);
  await store.close?.();
  const grown = after.heapUsed + after.external - before.heapUsed - before.external;
  return { count, bytesEach: grown / count, rss: after.rss - before.rss, served: count - reads };
}

/**
 * Tracking is armed in the background; until then the cache serves nothing and keeps nothing.
 *
 * @param {import("holdfast").Store} store
 * @param {string} key
 */
async function untilCoherent(store, key) {
  for (let reads = -1; reads !== 0; ) {
    const before = (await usedCommands(redis.client)).get("get") ?? 0;
    await store.read(key, call());
    reads = ((await usedCommands(redis.client)).get("get") ?? 0) - before;
  }
}

/** @param {number} processes */
async function apps(processes) {
  const targets = await Promise.all(
    Array.from({ length: processes }, () =>
      startTarget(unpinned, { framework: "fastify", variant: "holdfast", redisUrl: redis.url, profileDir: undefined }),
    ),
  );
  const pools = await Promise.all(targets.map(({ port }) => signIn(port, 160, 16)));
  const run = () =>
    Promise.all(
      targets.map(({ port }, index) =>
        load({
          port,
          method: "GET",
          path: "/read",
          requests: operations,
          connections: 16,
          cookies: [...(pools[index] ?? [])],
        }),
      ),
    );
  await run();
  const cpu = async () => (await Promise.all(targets.map((target) => target.cpuUs()))).reduce((sum, us) => sum + us, 0);
  const [before, redisBefore] = [await cpu(), await redisCpuUs(redis.client)];
  const results = await run();
  const total = results.reduce((sum, { requests }) => sum + requests, 0);
  const slowest = Math.max(...results.map(({ elapsedMs }) => elapsedMs));
  const row = {
    processes,
    perSecond: (total / slowest) * 1_000,
    appUs: ((await cpu()) - before) / total,
    redisUs: ((await redisCpuUs(redis.client)) - redisBefore) / total,
  };
  await Promise.all(targets.map((target) => target.stop()));
  return row;
}

console.log(`payload: ${meanBytes.toFixed(0)} bytes of JSON in the mean\n`);
console.log(
  "| sessions | bytes above the payload | connect-redis | read: CPU µs here / in Redis | read and write: CPU µs here / in Redis |",
);
console.log(
  "| -------: | ----------------------: | ------------: | ---------------------------: | -------------------------------------: |",
);
/** @type {string[]} */
let keys = [];
for (const size of sizes) {
  const theirs = await connectRedis(size);
  const mine = await ours(size);
  keys = mine.keys;
  const above = (/** @type {number} */ bytes) => (bytes / size - meanBytes).toFixed(0);
  const both = (/** @type {{ hereUs: number, redisUs: number }} */ cost) =>
    `${cost.hereUs.toFixed(1)} / ${cost.redisUs.toFixed(1)}`;
  console.log(`| ${size} | ${above(mine.bytes)} | ${above(theirs)} | ${both(mine.read)} | ${both(mine.write)} |`);
}

console.log(
  "\n| one session, JSON bytes | encode | encode and decode | transfer | request, untouched | read | changed |",
);
console.log(
  "| ----------------------: | -----: | ----------------: | -------: | -----------------: | ---: | ------: |",
);
for (const kilobytes of [1, 10, 100]) {
  const count = Math.max(20, Math.ceil(operations / 10 / kilobytes));
  const row = await large({ client: redis.client, url: redis.url, kilobytes, operations: count });
  const figures = [row.encode, row.decode, row.transfer, row.untouched, row.read, row.change];
  console.log(`| ${row.bytes} | ${figures.map((us) => us.toFixed(0)).join(" | ")} |`);
}
console.log("CPU µs in this process each");

const near = await nearCached(keys);
console.log(
  `\nnear cache: ${near.count} sessions, ${near.bytesEach.toFixed(0)} bytes each in this process (RSS +${(near.rss / 2 ** 20).toFixed(1)} MiB); ${near.served} of ${near.count} reads afterwards asked Redis nothing`,
);

console.log("\n| app processes (Fastify, read) | req/s in all | CPU µs/req | Redis CPU µs/req |");
console.log("| ----------------------------: | -----------: | ---------: | ---------------: |");
for (const processes of appCounts) {
  const { perSecond, appUs, redisUs } = await apps(processes);
  console.log(`| ${processes} | ${perSecond.toFixed(0)} | ${appUs.toFixed(1)} | ${redisUs.toFixed(1)} |`);
}

const commands = [...(await usedCommands(redis.client)).keys()].sort();
console.log(`\ncommands that Redis was sent, scripts' own included: ${commands.join(", ")}`);
const walks = commands.filter((name) => /^(keys|scan|[hsz]scan|smembers|hgetall|dbsize|randomkey)$/.test(name));
await redis.stop();
if (walks.length > 0) {
  console.error(`walks the keys: ${walks.join(", ")}`);
  process.exitCode = 1;
}
