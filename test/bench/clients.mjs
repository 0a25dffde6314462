// @ts-check
/**
 * `npm run bench:clients`: what a Redis client's settings do to a session's read and change: auto-pipelining, RESP2 and
 * RESP3, replies as Buffers or as strings, one, two and four connections, ioredis 5 and 6, node-redis 5 and 6, and the
 * URL form. The figures behind `.github/guide/redis-clients.md`.
 *
 *   node test/bench/clients.mjs [--rounds N] [--operations N] [--only words] [--page]
 *
 * The store alone, without HTTP, on a redis-server of its own, with 1 caller and with 32 at once; and with 4 and 32 callers
 * through a proxy that makes of it a Redis 1 ms away, who begin some ms apart: in step with all others nobody would be seen
 * to wait for their answers. A round runs every setting once, in an order that rotates; medians of rounds are printed. CPU
 * is this process's, in µs per operation.
 * `--page` puts the table into the guide, in place of the one that is there.
 */
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { call, clientSettings, payload } from "./client-settings.mjs";
import { rate } from "./figures.mjs";
import { describeMachine, pin, startRedis } from "./machine.mjs";
import { startNetwork } from "./network.mjs";
import { layOut, median } from "./report.mjs";

const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "7" },
    operations: { type: "string", default: "3200" },
    only: { type: "string", default: "" },
    page: { type: "boolean", default: false },
  },
});
const [rounds, operations] = [Number(flags.rounds), Number(flags.operations)];

const { redisStore } = await import("holdfast/redis");
const pinning = pin();
const redis = await startRedis(pinning);
const about = await describeMachine(redis.client, pinning);
const near = Number(new URL(redis.url).port);
const network = await startNetwork(pinning, redis.url, 1);
const day = 86_400_000;
const keys = Array.from({ length: 64 }, () => randomBytes(32).toString("base64url"));

/** Around the table in the guide. */
const [begin, end] = ["<!-- npm run bench:clients -- --page -->", "<!-- end of what it writes -->"];

const settings = clientSettings.filter(({ name }) => flags.only.split(",").some((word) => name.includes(word)));

/** @typedef {{ hereUs: number, redisUs: number }} Figures */

/**
 * @param {(key: string) => Promise<unknown>} operation
 * @param {number} atOnce
 * @returns {Promise<Figures>}
 */
function measure(operation, atOnce) {
  // No key twice at a time: parallel reads of one session share a command.
  let turn = 0;
  const count = atOnce === 1 ? operations / 4 : operations;
  return rate(redis.client, count, async () => void (await operation(keys[turn++ % keys.length] ?? "")), atOnce);
}

/**
 * p50 of callers who each ask again as soon as they have their answer, in ms.
 *
 * @param {(key: string) => Promise<unknown>} operation
 * @param {number} callers
 */
async function latency(operation, callers) {
  /** @type {number[]} */
  const times = [];
  let turn = 0;
  const ask = async (/** @type {number} */ caller) => {
    await delay(1 + (caller % 3));
    while (turn < callers * 40) {
      const key = keys[turn++ % keys.length] ?? "";
      const askedAt = performance.now();
      await operation(key);
      times.push(performance.now() - askedAt);
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, caller) => ask(caller)));
  return median(times);
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
const crowds = [4, 32];
const subjects = await Promise.all(
  settings.map(async ({ name, make }) => ({ name, subject: await make(near), distant: await make(network.port) })),
);
/** @type {Map<string, Figures[]>} */
const samples = new Map();
/** @type {Map<string, number[]>} */
const latencies = new Map();
for (let round = -1; round < rounds; round += 1) {
  process.stderr.write(round < 0 ? "warm-up\n" : `round ${round + 1} of ${rounds}\n`);
  for (let turn = 0; turn < subjects.length; turn += 1) {
    const { name, subject, distant } = subjects[(Math.max(0, round) + turn) % subjects.length] ?? { name: "" };
    for (const { name: what, atOnce, isChange } of work) {
      const operation = isChange ? subject?.change : subject?.read;
      if (operation === undefined) continue;
      const figures = await measure(operation, atOnce);
      const cell = `${name} | ${what}`;
      if (round >= 0) samples.set(cell, [...(samples.get(cell) ?? []), figures]);
    }
    for (const callers of crowds) {
      if (distant === undefined) continue;
      const p50Ms = await latency(distant.read, callers);
      const cell = `${name} | ${callers}`;
      if (round >= 0) latencies.set(cell, [...(latencies.get(cell) ?? []), p50Ms]);
    }
  }
}
for (const { subject, distant } of subjects) await Promise.all([subject.close(), distant.close()]);
network.stop();
await redis.stop();

const cells = settings.map(({ name }) => [
  name,
  ...work.map(({ name: what }) => {
    const figures = samples.get(`${name} | ${what}`);
    if (figures === undefined) return "";
    const [here, there] = [figures.map(({ hereUs }) => hereUs), figures.map(({ redisUs }) => redisUs)];
    return `${median(here).toFixed(1)} / ${median(there).toFixed(1)}`;
  }),
  crowds.map((callers) => median(latencies.get(`${name} | ${callers}`) ?? []).toFixed(2)).join(" / "),
]);
const require = createRequire(import.meta.url);
const clients = ["ioredis", "ioredis5", "redis", "redis5"]
  .map((name) => `${name.replace("5", "")} ${require(`${name}/package.json`).version}`)
  .join(", ");
const text = [
  `${about.machine}.`,
  `${clients}. Medians of ${rounds} rounds of ${operations} operations;`,
  `${payload.length} bytes a session. CPU µs of the process / of Redis, per operation; then p50 in ms of 4 / of 32 callers who`,
  `read with Redis 1 ms away (a PING: ${network.awayMs.toFixed(2)} ms):`,
  "",
  layOut(["client", ...work.map(({ name }) => name), `read, 1 ms away: p50 of ${crowds.join(" / ")}`], cells),
].join("\n");
console.log(text);
if (flags.page) {
  const guide = new URL("../../.github/guide/redis-clients.md", import.meta.url);
  const [before = "", rest = ""] = (await readFile(guide, "utf8")).split(begin);
  const [, after] = rest.split(end);
  if (after === undefined) throw new Error(`${guide.pathname} has no ${begin} … ${end}`);
  await writeFile(guide, `${before}${begin}\n${text}\n${end}${after}`);
}
