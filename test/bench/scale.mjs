// @ts-check
/**
 * `npm run bench:scale`: what many sessions cost. Bytes in Redis for each session above its payload, beside
 * connect-redis on the same data; CPU for a read and a write as their number grows; the commands that were used; memory
 * of a process with a full near cache; large sessions; throughput of 1, 2 and 4 app processes.
 *
 *   node --expose-gc test/bench/scale.mjs [--sizes 10000,100000,1000000] [--cached 100000] [--operations 20000]
 *                                         [--apps 1,2,4] [--page] [--json file]
 *
 * `--page` writes `.github/scale.md` of the figures; without it they are printed alone. It runs the built package
 * (`dist/`) on redis-servers of its own. Fails where a command was used that walks the keys. What is measured is in
 * `scale-parts.mjs` and `large.mjs`, how it is told in `scale-page.mjs`.
 */
import { writeFile } from "node:fs/promises";
import process from "node:process";
import { parseArgs } from "node:util";
import { usedCommands } from "./figures.mjs";
import { large } from "./large.mjs";
import { describeMachine, startRedis } from "./machine.mjs";
import { page, tables } from "./scale-page.mjs";
import { apps, clusterBytes, connectRedis, manage, nearCached, ours, unpinned } from "./scale-parts.mjs";
import { signedIn } from "./servers/server.mjs";

const { values: flags } = parseArgs({
  options: {
    sizes: { type: "string", default: "10000,100000,1000000" },
    cached: { type: "string", default: "100000" },
    operations: { type: "string", default: "20000" },
    apps: { type: "string", default: "1,2,4" },
    page: { type: "boolean", default: false },
    json: { type: "string" },
  },
});
const counts = flags.sizes.split(",").map(Number);
const appCounts = flags.apps.split(",").map(Number);
const cached = Number(flags.cached);
const operations = Number(flags.operations);
if (![...counts, ...appCounts, cached, operations].every((count) => Number.isInteger(count) && count > 0)) {
  throw new Error("--sizes, --apps, --cached and --operations take whole numbers from 1");
}

/**
 * What sessions hold here: the bench's login, and a note of 0 to 255 characters. Redis's allocator has sizes 64 or 128
 * bytes apart: with one length for all, the figures would say which side of a step it fell on.
 */
const contents = Array.from({ length: 256 }, (_, length) => ({ ...signedIn(), note: "n".repeat(length) }));
const bytesOf = (/** @type {object} */ data) => JSON.stringify(data).length;
const payload = contents.reduce((sum, data) => sum + bytesOf(data), 0) / contents.length;

/** @param {string} text */
function progress(text) {
  process.stderr.write(`${text}\n`);
}

const redis = await startRedis(unpinned);
const about = await describeMachine(redis.client, unpinned);

// First, while this process is small: what a million keys leave behind would be in the figures.
progress("large sessions");
const rows = await large({ url: redis.url, operations: Math.ceil(operations / 10) });
progress("near cache");
const { keys } = await ours(redis, { count: cached, contents, operations: 1 });
const near = await nearCached(redis, keys);

/** @type {import("./scale-page.mjs").Size[]} */
const sizes = [];
for (const sessions of counts) {
  progress(`${sessions} sessions`);
  const theirs = await connectRedis(redis, { count: sessions, contents });
  const mine = await ours(redis, { count: sessions, contents, operations });
  const { bytesEach, read, change } = mine;
  sizes.push({ sessions, above: bytesEach - payload, theirs: theirs - payload, read, change });
}
progress("app processes");
const appRows = [];
for (const processes of appCounts) appRows.push(await apps(redis, { processes, operations }));

progress("one length; a node of a Cluster; management");
// As long as the login that other layouts were once measured with.
const login = contents.filter((data) => bytesOf(data) === 372).slice(0, 1);
const same = { count: Math.min(100_000, Math.max(...counts)), contents: login };
const theirs = (await connectRedis(redis, same)) - bytesOf(login[0] ?? {});
const mine = (await ours(redis, { ...same, operations: 1 })).bytesEach - bytesOf(login[0] ?? {});
await manage(redis);
const figures = {
  about,
  payload,
  sizes,
  login: { payload: bytesOf(login[0] ?? {}), above: mine, theirs },
  clusterBytes: await clusterBytes(),
  large: rows,
  near,
  apps: appRows,
  commands: [...(await usedCommands(redis.client)).keys()].sort(),
};
await redis.stop();

console.log(`${about.machine}\n${about.versions}\n\n${tables(figures)}`);
if (flags.json !== undefined) await writeFile(flags.json, JSON.stringify(figures, null, 2));
if (flags.page) await writeFile(new URL("../../.github/scale.md", import.meta.url), page(figures));
const walks = figures.commands.filter((name) => /^(keys|scan|[hsz]scan|smembers|hgetall|dbsize|randomkey)$/.test(name));
if (walks.length > 0) {
  console.error(`walks the keys: ${walks.join(", ")}`);
  process.exitCode = 1;
}
