// @ts-check
/**
 * Large sessions: CPU of a request that leaves its session alone, reads it or changes it, at 1, 10 and 100 KB, beside
 * what one JSON encode and one decode of it cost, and its way from Redis and to it through the same client. The engine
 * alone, without HTTP. Called by `scale.mjs`; `node test/bench/large.mjs` prints the table alone.
 *
 * What is compared runs by turns, and each figure is the median of the rounds: whatever else the machine does meets all.
 */
import { randomBytes } from "node:crypto";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { Redis } from "ioredis";
import { exchangeWith } from "./exchange.mjs";
import { startRedis } from "./machine.mjs";
import { layOut } from "./report.mjs";
import { unpinned } from "./scale-parts.mjs";

/** @typedef {import("holdfast").Sessions} Sessions */
/** @typedef {() => void | Promise<void>} Work */

const atOnce = 8;
/** One client for all, so that a raw command and a request differ in nothing else; set as `redisStore()` asks for. */
const settings = {
  commandTimeout: 500,
  socketTimeout: 2_500,
  maxRetriesPerRequest: 1,
  autoResendUnfulfilledCommands: false,
  enableOfflineQueue: false,
  lazyConnect: true,
};

/**
 * One row a size: bytes of JSON, and CPU µs in this process each. `bare`: a request without a cookie, of any size.
 *
 * @param {{ url: string, sizes?: number[], operations: number, rounds?: number }} options
 */
export async function large({ url, sizes = [1, 10, 100], operations, rounds = 25 }) {
  const { createSessions } = await import("holdfast");
  const { redisStore } = await import("holdfast/redis");
  const client = new Redis(url, settings);
  await client.connect();
  const sessions = createSessions({
    secret: "a bench secret that is long enough for all of them",
    store: redisStore(client),
  });
  const rows = [];
  for (const kilobytes of sizes) rows.push(await cellsOf(client, sessions, kilobytes));
  /** @type {number[][][]} */
  const costs = rows.map(({ cells }) => Object.values(cells).map(() => []));
  // The first round warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const [at, { kilobytes, cells }] of rows.entries()) {
      const count = Math.max(atOnce, Math.ceil(operations / kilobytes ** 0.5));
      for (const [column, work] of Object.values(cells).entries()) {
        const cost = await cpuUsOf(work, count);
        if (round > 0) costs[at]?.[column]?.push(cost);
      }
    }
  }
  await sessions.close();
  client.disconnect();
  return rows.map(({ bytes }, at) => {
    const [encode = 0, decode = 0, bare = 0, transfer = 0, store = 0, untouched = 0, read = 0, change = 0] = (
      costs[at] ?? []
    ).map(median);
    return { bytes, encode, decode, bare, transfer, store, untouched, read, change };
  });
}

/**
 * What is measured of one size, in the order of the columns.
 *
 * @param {Redis} client
 * @param {Sessions} sessions
 * @param {number} kilobytes
 */
async function cellsOf(client, sessions, kilobytes) {
  const { signIn } = await import("holdfast/testing");
  // What does not compress, in pieces as real data has them.
  const items = Array.from({ length: kilobytes * 8 }, (_, id) => ({ id, text: randomBytes(72).toString("base64") }));
  const data = { user: "ada", views: 0, items };
  const text = JSON.stringify(data);
  // Eight sessions, one request each at a time: parallel reads of one would share a command.
  const users = await Promise.all(Array.from({ length: atOnce }, () => signIn(sessions, data)));
  let turn = 0;
  const next = () => users[turn++ % atOnce] ?? { cookie: "", id: "" };
  /** @param {string} cookie @param {(session: any) => void} [handler] */
  const request = async (cookie, handler) => {
    const visit = sessions.visit(exchangeWith(cookie));
    await visit.begin();
    handler?.(visit.session);
    await visit.commit();
    // As an adapter does when the response has closed.
    await visit.finish();
  };
  /** @type {Record<string, Work>} */
  const cells = {
    encode: () => void JSON.stringify(data),
    decode: () => void JSON.parse(text),
    bare: () => request(""),
    transfer: async () => void (await client.getBuffer(`holdfast:${next().id}`)),
    store: async () => void (await client.set("raw", text)),
    untouched: () => request(next().cookie),
    read: () => request(next().cookie, (session) => session.user.length),
    change: () => request(next().cookie, change),
  };
  return { kilobytes, bytes: text.length, cells };
}

/**
 * CPU of one, in this process; what waits runs eight at a time.
 *
 * @param {Work} work
 * @param {number} count
 */
async function cpuUsOf(work, count) {
  const before = process.cpuUsage();
  for (let done = 0; done < count; done += atOnce) {
    const begun = [];
    for (let at = 0; at < atOnce; at++) {
      const result = work();
      if (result !== undefined) begun.push(result);
    }
    if (begun.length > 0) await Promise.all(begun);
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / (Math.ceil(count / atOnce) * atOnce);
}

/** @param {number[]} values */
function median(values) {
  return values.toSorted((one, other) => one - other)[values.length >> 1] ?? 0;
}

/** @param {any} session */
function change(session) {
  session.views += 1;
}

/** @param {Awaited<ReturnType<typeof large>>} rows */
export function tableOfLarge(rows) {
  return layOut(
    ["one session, JSON bytes", "encode", "decode", "no cookie", "raw GET", "raw SET", "untouched", "read", "changed"],
    rows.map(({ bytes, encode, decode, bare, transfer, store, untouched, read, change }) => [
      bytes.toLocaleString("en-US"),
      ...[encode, decode, bare, transfer, store, untouched, read, change].map((cost) => cost.toFixed(0)),
    ]),
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const redis = await startRedis(unpinned);
  console.log(tableOfLarge(await large({ url: redis.url, operations: 1_000 })));
  await redis.stop();
}
