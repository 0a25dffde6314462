// @ts-check
/**
 * The measurements of `scale.mjs` that need no data of the others: what many sessions cost in Redis, in a near cache, in
 * app processes, and the management of sessions, which is only counted. Called by `scale.mjs`.
 */
import { randomBytes, randomInt } from "node:crypto";
import process from "node:process";
import { exchangeWith } from "./exchange.mjs";
import { memoryOf, rate, usedCommands } from "./figures.mjs";
import { load } from "./load.mjs";
import { redisCpuUs, startRedis, startTarget } from "./machine.mjs";
import { secret } from "./servers/server.mjs";
import { signIn } from "./verify.mjs";

const { redisStore } = await import("holdfast/redis");
const { nearCache } = await import("holdfast/near-cache");

export const unpinned = { server: [], others: [], said: "not pinned: two cores for all" };
const day = 86_400_000;
const call = () => ({ deadline: performance.now() + 10_000, durable: false });

/** @typedef {{ client: import("ioredis").Redis, url: string }} Server a redis-server of the run's own */
/** @typedef {readonly Record<string, unknown>[]} Contents what sessions hold, in turn */

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

/**
 * @param {import("holdfast").Store} store
 * @param {Contents} contents
 * @param {number} index
 */
function freshRecord(store, contents, index) {
  const payload = Buffer.from(`\n${JSON.stringify(contents[index % contents.length])}`);
  const now = store.now();
  const stamps = { createdAt: now, touchedAt: now, expiresAt: now + day, absoluteExpiresAt: now + 30 * day };
  return /** @type {const} */ ({ kind: "live", ...stamps, payload });
}

/**
 * Fills Redis with sessions, then reads and changes some of them.
 *
 * @param {Server} redis
 * @param {{ count: number, contents: Contents, operations: number }} options
 */
export async function ours({ client, url }, { count, contents, operations }) {
  await client.flushall();
  const empty = await memoryOf(client);
  const store = redisStore(url);
  const keys = Array.from({ length: count }, () => randomBytes(32).toString("base64url"));
  await many(count, async (index) => {
    const result = await store.write(keys[index] ?? "", freshRecord(store, contents, index), "absent", call());
    if (!result.ok) throw new Error("a session was not written");
  });
  const bytesEach = ((await memoryOf(client)) - empty) / count;
  const pick = () => keys[randomInt(count)] ?? "";
  const read = await rate(client, operations, async () => {
    const record = await store.read(pick(), call());
    if (record?.kind !== "live") throw new Error("a session was not read");
  });
  const change = await rate(client, operations, async () => {
    const key = pick();
    const record = await store.read(key, call());
    if (record?.kind !== "live") throw new Error("a session was not read");
    await store.write(key, freshRecord(store, contents, randomInt(contents.length)), record.version, call());
  });
  await store.close?.();
  return { keys, bytesEach, read, change };
}

/**
 * The same data by connect-redis, as express-session gives it. Resolves to bytes a session.
 *
 * @param {Server} redis
 * @param {{ count: number, contents: Contents }} options
 */
export async function connectRedis({ client, url }, { count, contents }) {
  await client.flushall();
  const empty = await memoryOf(client);
  const { RedisStore } = await import("connect-redis");
  const { createClient } = await import("redis");
  const theirs = createClient({ url });
  await theirs.connect();
  const store = new RedisStore({ client: theirs });
  const cookie = { originalMaxAge: day, expires: new Date(Date.now() + day), httpOnly: true, path: "/" };
  await many(count, (index) =>
    store.set(
      randomBytes(24).toString("base64url"),
      /** @type {any} */ ({ cookie, ...contents[index % contents.length] }),
    ),
  );
  const bytes = (await memoryOf(client)) - empty;
  await theirs.close();
  return bytes / count;
}

/**
 * A process's near cache, full.
 *
 * @param {Server} redis
 * @param {readonly string[]} keys of sessions there
 */
export async function nearCached({ client, url }, keys) {
  const count = keys.length;
  const store = nearCache(redisStore(url), { max: count, maxSize: 2 ** 30, maxAge: "1h" });
  // Tracking is armed in the background; until then the cache serves nothing and keeps nothing.
  while (store.peek?.(keys[0] ?? "") === undefined) await store.read(keys[0] ?? "", call());
  const gets = async () => (await usedCommands(client)).get("get") ?? 0;
  globalThis.gc?.();
  const before = process.memoryUsage();
  await many(count, (index) => store.read(keys[index] ?? "", call()));
  globalThis.gc?.();
  const after = process.memoryUsage();
  const started = await gets();
  await many(count, (index) => store.read(keys[index] ?? "", call()));
  const reads = (await gets()) - started;
  await store.close?.();
  const grown = after.heapUsed + after.external - before.heapUsed - before.external;
  return { count, bytesEach: grown / count, rss: after.rss - before.rss, served: count - reads };
}

/**
 * Requests to some app processes at once.
 *
 * @param {Server} redis
 * @param {{ processes: number, operations: number }} options
 */
export async function apps({ client, url }, { processes, operations }) {
  const targets = await Promise.all(
    Array.from({ length: processes }, () =>
      startTarget(unpinned, { framework: "fastify", variant: "holdfast", redisUrl: url, profileDir: undefined }),
    ),
  );
  const pools = await Promise.all(targets.map(({ port }) => signIn(port, 160, 16)));
  const request = { method: "GET", path: "/read", requests: operations, connections: 16 };
  const run = () =>
    Promise.all(targets.map(({ port }, index) => load({ ...request, port, cookies: [...(pools[index] ?? [])] })));
  await run();
  const cpu = async () => (await Promise.all(targets.map((target) => target.cpuUs()))).reduce((sum, us) => sum + us, 0);
  const [before, redisBefore] = [await cpu(), await redisCpuUs(client)];
  const results = await run();
  const total = results.reduce((sum, { requests }) => sum + requests, 0);
  const slowest = Math.max(...results.map(({ elapsedMs }) => elapsedMs));
  const row = {
    processes,
    perSecond: (total / slowest) * 1_000,
    appUs: ((await cpu()) - before) / total,
    redisUs: ((await redisCpuUs(client)) - redisBefore) / total,
  };
  await Promise.all(targets.map((target) => target.stop()));
  return row;
}

/**
 * What an app does with its users' sessions beside serving requests, for the commands that it takes: logins under a
 * limit, lists, ends by id, by user and by logout, a session that expires, ends that other nodes hear of.
 *
 * @param {Server} redis
 */
export async function manage({ url }) {
  const { createSessions } = await import("holdfast");
  const { signIn: signInTo } = await import("holdfast/testing");
  const options = { secret, maxSessions: 3, storeTimeout: 10_000, ttl: 2_000, expiredEvents: true };
  const principal = (/** @type {any} */ data) => data.owner;
  const nodes = [0, 1].map(() => createSessions({ ...options, principal, store: redisStore(url) }));
  const [node, other] = nodes;
  if (node === undefined || other === undefined) throw new Error("two nodes");
  other.on("destroyed", () => {});
  const expired = Promise.race(nodes.map((each) => new Promise((resolve) => each.on("expired", resolve))));
  for (let index = 0; index < 5; index += 1) await signInTo(node, { user: "ada", owner: "ada" });
  const listed = await node.list("ada");
  if (listed.length !== 3) throw new Error(`a user of 3 sessions has ${listed.length}`);
  await node.get(listed[0]?.id ?? "");
  await node.destroy(listed[0]?.id ?? "");
  const { cookie } = await signInTo(node, { user: "ada", owner: "ada" });
  const visit = node.visit(exchangeWith(cookie));
  await visit.begin();
  await /** @type {any} */ (visit.session).destroy();
  await visit.commit();
  await node.destroyAll("ada");
  if ((await node.list("ada")).length > 0) throw new Error("a user's sessions were not ended");
  await signInTo(node, { user: "eve", owner: "eve" });
  await expired;
  await Promise.all(nodes.map((each) => each.close()));
}

/** What a key costs more in a Redis that is a node of a Cluster: measured on two servers, with keys alone. */
export async function clusterBytes(count = 20_000) {
  const [plain = 0, clustered = 0] = await Promise.all(
    ["no", "yes"].map(async (isCluster) => {
      const { client, stop } = await startRedis(unpinned, ["--cluster-enabled", isCluster]);
      if (isCluster === "yes") await client.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
      while (isCluster === "yes" && !String(await client.call("CLUSTER", "INFO")).includes("cluster_state:ok"));
      const empty = await memoryOf(client);
      await many(count, (index) => client.set(`key-${index}`, "value", "PX", day));
      const bytes = (await memoryOf(client)) - empty;
      await stop();
      return bytes / count;
    }),
  );
  return clustered - plain;
}
