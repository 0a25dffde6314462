// @ts-check
/**
 * Redis with Sentinel as processes of the cluster: one master, two replicas, and three Sentinels that agree by two. It
 * only starts them and looks at them; who is master is theirs to decide. Called by `demo.mjs` and `npm run chaos`.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "./free-port.mjs";
import { until } from "./processes.mjs";
import { ask, info, startRedis } from "./redis.mjs";

/**
 * @typedef {Awaited<ReturnType<typeof startSentinel>>} SentinelRedis
 * @typedef {{ name: string, port: number, publicPort: number }} Server `publicPort`: where everybody else finds it
 * @typedef {{ name: string, port: number, role: "master" | "replica" | "rejoining" | "away" }} ServerView
 *   rejoining: it was away, and Sentinel has not told it yet whom to follow
 */

/** What the Sentinels call the master. */
export const group = "sessions";
/**
 * How often Sentinels ask, in ms, for a `down-after` below a second or two; Redis 7.0 and later, no line of sentinel.conf.
 * As it is, they ask a new master for the first time when such a `down-after` is over, and hold it to be down for being
 * silent; and what they know of a replica may be ten seconds old, too old to promote it by.
 */
const paceForShortDownAfter = ["PING-PERIOD", "300", "INFO-PERIOD", "1000"];

/**
 * @param {import("./processes.mjs").Processes} processes
 * @param {object} [options]
 * @param {(name: string, port: number) => Promise<number>} [options.publish] puts something, a proxy, before a server,
 *   and resolves to the port that everybody else is to use for it
 * @param {(name: string) => string} [options.sourceOf] the address that a server's own connections come from
 * @param {number} [options.downAfterMs] how long a master may be silent
 */
export async function startSentinel(processes, options = {}) {
  const { publish = async (_, port) => port, sourceOf, downAfterMs = 500 } = options;
  /** @type {Server[]} */
  const servers = [];
  for (const name of ["r1", "r2", "r3"]) {
    const port = await freePort();
    const publicPort = await publish(name, port);
    const config = [
      "replica-announce-ip 127.0.0.1",
      `replica-announce-port ${publicPort}`,
      // A master that nobody follows acknowledges nothing: it may be replaced by one that has none of it.
      "min-replicas-to-write 1",
    ];
    if (sourceOf !== undefined) config.push(`bind-source-addr ${sourceOf(name)}`);
    const first = servers[0];
    if (first !== undefined) config.push(`replicaof 127.0.0.1 ${first.publicPort}`);
    await startRedis(processes, { name, port, config });
    servers.push({ name, port, publicPort });
  }
  const [first] = servers;
  if (first === undefined) throw new Error("no server");
  const hasReplicas = async (/** @type {number} */ port) => {
    const { slave0 = "", slave1 = "" } = await info(port, "replication");
    return slave0.includes("state=online") && slave1.includes("state=online");
  };
  await until(() => hasReplicas(first.port), "the replicas to follow");

  const sentinels = await Promise.all(
    ["s1", "s2", "s3"].map(async (name) => {
      const port = await freePort();
      const file = join(processes.folder(name), "sentinel.conf");
      const lines = [
        `port ${port}`,
        "bind 127.0.0.1",
        `sentinel monitor ${group} 127.0.0.1 ${first.publicPort} 2`,
        `sentinel down-after-milliseconds ${group} ${downAfterMs}`,
        `sentinel failover-timeout ${group} 2000`,
      ];
      writeFileSync(file, `${lines.join("\n")}\n`);
      await processes.start(name, { command: "redis-sentinel", args: [file] });
      await processes.ready(name, async () => (await ask(port, "PING")) === "PONG");
      await ask(port, "SENTINEL", "DEBUG", ...paceForShortDownAfter).catch(() => undefined);
      return { name, port };
    }),
  );

  /** By most of the Sentinels. @returns {Promise<Server | undefined>} */
  const master = async () => {
    const answers = await Promise.all(
      sentinels.map(({ port }) => ask(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", group).catch(() => undefined)),
    );
    const ports = answers.map((answer) => (Array.isArray(answer) ? Number(answer[1]) : Number.NaN));
    return servers.find(({ publicPort }) => ports.filter((port) => port === publicPort).length >= 2);
  };

  const cluster = {
    servers,
    sentinels,
    master,
    /** For `redisStore()`. */
    url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",")}?name=${group}`,
    /** Who is what, by Sentinel and by what each server says of itself. @returns {Promise<ServerView[]>} */
    async view() {
      const current = await master();
      return Promise.all(
        servers.map(async ({ name, port }) => {
          const role = await info(port, "replication").then(
            (fields) => (fields.role === "slave" ? "replica" : name === current?.name ? "master" : "rejoining"),
            () => /** @type {const} */ ("away"),
          );
          return { name, port, role };
        }),
      );
    },
    /** Whether all servers are there again: a master that all Sentinels name, and two replicas that follow it. */
    async isWhole() {
      const current = await master();
      if (current === undefined || !(await hasReplicas(current.port))) return false;
      const seen = await Promise.all(sentinels.map(({ port }) => ask(port, "SENTINEL", "MASTER", group)));
      return seen.every((fields) => {
        const of = (/** @type {string} */ name) => (Array.isArray(fields) ? fields[fields.indexOf(name) + 1] : "");
        const isKnown = of("num-slaves") === "2" && of("num-other-sentinels") === "2" && of("flags") === "master";
        return isKnown && Number(of("port")) === current.publicPort;
      });
    },
  };
  await until(cluster.isWhole, "the Sentinels to see everybody", 30_000);
  return cluster;
}
