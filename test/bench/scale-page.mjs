// @ts-check
/**
 * What `scale.mjs` measured, as tables, and as the page `.github/scale.md`, which extrapolates from them with its
 * arithmetic. It measures nothing: every figure on the page is one of a run's, an assumption that is named as such, or
 * computed from those. Called by `scale.mjs`.
 */
import { tableOfLarge } from "./large.mjs";
import { layOut } from "./report.mjs";

/**
 * @typedef {{ hereUs: number, redisUs: number }} Cost CPU µs of an operation: in this process, in Redis
 * @typedef {{ sessions: number, above: number, theirs: number, read: Cost, change: Cost }} Size bytes a session above
 *   its payload, holdfast's and connect-redis's; a read; a read and a write
 * @typedef {Awaited<ReturnType<typeof import("./large.mjs").large>>[number]} Large
 * @typedef {{ count: number, bytesEach: number, rss: number, served: number }} Near
 * @typedef {{ processes: number, perSecond: number, appUs: number, redisUs: number }} Apps
 * @typedef {object} Figures
 * @property {{ machine: string, versions: string }} about
 * @property {number} payload mean bytes of JSON a session
 * @property {Size[]} sizes
 * @property {{ payload: number, above: number, theirs: number }} login the bench's login alone, all of one length
 * @property {number} clusterBytes what a key costs more in a Redis with `cluster-enabled yes`
 * @property {Large[]} large
 * @property {Near} near
 * @property {Apps[]} apps
 * @property {string[]} commands
 */

/** @param {Cost} cost */
const both = ({ hereUs, redisUs }) => `${hereUs.toFixed(1)} / ${redisUs.toFixed(1)}`;
/** @param {number} value */
const whole = (value) => value.toFixed(0);
/** @param {number} value */
const grouped = (value) => value.toLocaleString("en-US");

/** @param {Figures} figures */
export function tables({ payload, sizes, login, clusterBytes, large, near, apps, commands }) {
  const sizeTable = layOut(
    ["sessions", "bytes above the payload", "connect-redis", "read: CPU µs here / in Redis", "read and write: CPU µs"],
    sizes.map(({ sessions, above, theirs, read, change }) => [
      grouped(sessions),
      whole(above),
      whole(theirs),
      both(read),
      both(change),
    ]),
  );
  const appTable = layOut(
    ["app processes (Fastify, read)", "req/s in all", "CPU µs/req", "Redis CPU µs/req"],
    apps.map((row) => [`${row.processes}`, whole(row.perSecond), row.appUs.toFixed(1), row.redisUs.toFixed(1)]),
  );
  return `Payloads of ${whole(payload)} bytes of JSON in the mean, of 256 lengths.

${sizeTable}

With ${login.payload} bytes each, all of one length: ${whole(login.above)} above it, connect-redis ${whole(login.theirs)}. A Redis with
\`cluster-enabled yes\` takes ${whole(clusterBytes)} more for each key.

CPU µs in this process, without HTTP, medians of rounds by turns:

${tableOfLarge(large)}

Near cache: ${grouped(near.count)} sessions, ${whole(near.bytesEach)} bytes each in this process, payload included (RSS ${(near.rss / 2 ** 20).toFixed(0)} MiB more);
${grouped(near.served)} of ${grouped(near.count)} reads afterwards asked Redis nothing.

${appTable}

Commands that Redis was sent, scripts' own included, by logins, requests, lists of a user's sessions and their end:
${commands.join(", ")}.`;
}

/** What the page assumes. */
const assumed = {
  sessions: 1e8,
  activeShare: 0.01,
  secondsBetween: 10,
  changeShare: 0.1,
  touchSeconds: 60,
  headroom: 1.3,
  nodeGiB: 16,
  utilisation: 0.5,
};

/** @param {Figures} figures */
export function page(figures) {
  const { about, payload, sizes, clusterBytes, near, apps } = figures;
  const last = sizes.at(-1);
  const app = apps[0];
  if (last === undefined || app === undefined) throw new Error("nothing was measured");
  const { sessions, activeShare, secondsBetween, changeShare, touchSeconds, headroom, nodeGiB, utilisation } = assumed;
  const each = payload + last.above + clusterBytes;
  const gib = (each * sessions) / 2 ** 30;
  const masters = Math.ceil((gib * headroom) / nodeGiB);
  const active = sessions * activeShare;
  const requests = active / secondsBetween;
  const touches = active / touchSeconds;
  const write = last.change.redisUs - last.read.redisUs;
  const readCores = (requests * last.read.redisUs) / 1e6;
  const writeCores = ((requests * changeShare + touches) * write) / 1e6;
  const cores = readCores + writeCores;
  const ratio = (/** @type {(size: Size) => number} */ of) => (of(last) / of(sizes[0] ?? last)).toFixed(2);
  return `# A hundred million sessions

What \`npm run bench:scale\` measured in one run, and what follows for a Redis Cluster of a hundred million sessions. The
script writes this page (\`-- --page\`). Figures of the first part are measured; the second part computes, and names what
it assumes.

## Measured

${about.machine}.
${about.versions}.

${tables(figures)}

**How flat.** From ${grouped(sizes[0]?.sessions ?? 0)} to ${grouped(last.sessions)} sessions a read costs Redis ${ratio((size) => size.read.redisUs)} times, a read and a write ${ratio((size) => size.change.redisUs)} times the CPU. Both are
commands on one key, found by its hash. No command that was used walks the keys; the script fails where one does.

## Computed

**Memory.** A session takes ${whole(payload)} bytes of payload, ${whole(last.above)} above it and ${whole(clusterBytes)} for Cluster: ${whole(each)} bytes.

    ${whole(each)} B × ${grouped(sessions)} = ${gib.toFixed(1)} GiB
    ${gib.toFixed(1)} GiB × ${headroom} (assumed: fragmentation, buffers, copies of pages during a save) = ${(gib * headroom).toFixed(1)} GiB
    ÷ ${nodeGiB} GiB a node (assumed: small enough to copy to a new replica in minutes) = ${masters} masters, and as many replicas

Your own: \`(payload + ${whole(last.above + clusterBytes)}) × sessions × ${headroom} ÷ node\`. An index by user (\`principal\`) is a sorted set for each user besides.

**Redis's CPU.** Assumed: ${activeShare * 100} % of the sessions are in use at a time, with a request each ${secondsBetween} s, ${changeShare * 100} % of the requests
change their session, and \`touchInterval\` is ${touchSeconds} s.

    requests  ${grouped(sessions)} × ${activeShare} ÷ ${secondsBetween} s                    = ${grouped(requests)} a second
    reads     ${grouped(requests)} × ${last.read.redisUs.toFixed(1)} µs                          = ${readCores.toFixed(2)} cores
    writes    (${grouped(requests)} × ${changeShare} + ${grouped(active)} ÷ ${touchSeconds} s) × ${write.toFixed(1)} µs = ${writeCores.toFixed(2)} cores
    in all ${cores.toFixed(2)} cores; at ${utilisation * 100} % load each                     = ${Math.max(1, Math.ceil(cores / utilisation))} masters

${masters >= cores / utilisation ? `Memory decides: with ${masters} masters each spends ${((cores / masters) * 100).toFixed(0)} % of its one core on this.` : "CPU decides."} With the near cache, reads of sessions
that stay on their node fall away: ${writeCores.toFixed(2)} cores remain.

**App processes.** ${app.appUs.toFixed(0)} µs a request (Fastify, read, HTTP included): ${grouped(requests)} a second are ${((requests * app.appUs) / 1e6).toFixed(1)} cores, of any number of
processes: nothing is shared among them but Redis.

**Near cache.** ${whole(near.bytesEach)} bytes for each session kept: ${grouped(near.count)} of them ${((near.bytesEach * near.count) / 2 ** 20).toFixed(0)} MiB. All ${grouped(active)} active ones on ${Math.ceil(active / near.count)} processes,
where a load balancer keeps users on their node. Each master remembers at most \`tracking-table-max-keys\` (1,000,000 by
default): ${grouped(Math.round(active / masters))} are tracked on each of ${masters} if every session is cached once.

## Not measured

More than ${grouped(last.sessions)} sessions on one Redis; a Cluster of that size, its gossip and its failovers under this load (small ones
are in the tests); how long a node of ${nodeGiB} GiB takes to load or to be copied; the network. Redis finds expired keys by itself,
a sample at a time: with a \`ttl\` of a day ${grouped(sessions)} sessions that are left alone expire at ${grouped(Math.round(sessions / 86_400))} a second.
`;
}
