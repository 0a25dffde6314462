// @ts-check
/**
 * The cluster to try: haproxy, one node of each framework, Redis with two replicas and three Sentinels, and a page that
 * shows them at work and lets you kill them. `npm run demo:cluster` sets up what is missing and runs it; Ctrl-C ends
 * everything.
 *
 *   PORT   where the page is; a free one by default
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { realpathSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { startBalancer } from "./balancer.mjs";
import { freePort } from "./free-port.mjs";
import { startPanel } from "./panel.mjs";
import { Processes } from "./processes.mjs";
import { startSentinel } from "./sentinel.mjs";
import { Watch } from "./watch.mjs";

const frameworks = ["express", "koa", "fastify"];

/**
 * @param {Processes} processes
 * @param {string} redisUrl
 */
async function startNodes(processes, redisUrl) {
  const secret = randomBytes(32).toString("base64url");
  return Promise.all(
    frameworks.map(async (framework, index) => {
      const node = { name: `n${index + 1}`, framework, port: await freePort() };
      await processes.start(node.name, {
        command: process.execPath,
        args: [join(import.meta.dirname, "node.mjs")],
        env: {
          FRAMEWORK: framework,
          PORT: String(node.port),
          NODE: node.name,
          REDIS_URL: redisUrl,
          SESSION_SECRET: secret,
          NOTICE: "1500ms",
          NODE_ENV: "production",
        },
      });
      await processes.ready(node.name, async () => (await fetch(`http://127.0.0.1:${node.port}/health`)).ok);
      return node;
    }),
  );
}

/**
 * Starts everything.
 * @param {{ port?: number, processes?: Processes }} [options] `port`: the page's; `0`: a free one
 */
export async function start({ port = 0, processes = new Processes() } = {}) {
  /** @type {(() => void)[]} */
  const closing = [];
  const stop = async () => {
    for (const close of closing.splice(0)) close();
    await processes.stop();
  };
  try {
    // On a laptop that is busy half a second of silence is no death, and a failover too many costs ten seconds.
    const redis = await startSentinel(processes, { downAfterMs: 1_500 });
    const nodes = await startNodes(processes, redis.url);
    const panel = await startPanel({ obey: (action, name) => obey({ processes, nodes, redis, watch }, action, name) });
    closing.push(() => panel.stop());
    const balancer = await startBalancer(processes, {
      port,
      panelPort: panel.port,
      nodes: Object.fromEntries(nodes.map((node) => [node.name, node.port])),
      onRequest: (seen) => panel.showRequest(seen),
    });
    closing.push(() => balancer.close());
    const watch = new Watch({ processes, nodes, redis, balancer }, (view) => panel.show(view));
    closing.push(() => watch.stop());
    watch.run();
    const url = `http://localhost:${balancer.port}`;
    return { url, site: `http://localhost:${balancer.sitePort}`, nodes, redis, processes, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Does what a button says.
 * @param {Pick<import("./watch.mjs").Watched, "processes" | "nodes" | "redis"> & { watch: Watch }} cluster
 * @param {import("./panel.mjs").Action} action
 * @param {string} name of a node or a Redis; "master": whoever that is
 */
function obey({ processes, nodes, redis, watch }, action, name) {
  const target = name === "master" ? watch.view?.master : name;
  if (![...nodes, ...redis.servers].some((each) => each.name === target) || typeof target !== "string") {
    throw new Error(name === "master" ? "There is no master now." : "There is no such node.");
  }
  const doing = {
    kill: async () => processes.kill(target),
    hang: async () => processes.hang(target),
    drain: () => processes.kill(target, "SIGTERM"),
    revive: () => processes.revive(target),
  };
  doing[action]().catch((error) => console.error(error.message));
}

/** @param {number} port */
async function isFree(port) {
  const probe = createServer().listen(port, "127.0.0.1");
  try {
    await once(probe, "listening");
    return true;
  } catch {
    return false;
  } finally {
    probe.close();
  }
}

async function main() {
  const port = Number(process.env.PORT || 0);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new Error(`PORT must be a whole number up to 65535; it is "${process.env.PORT}".`);
  }
  if (!(await isFree(port))) {
    throw new Error(`Port ${port} is in use. Choose another one, or none: PORT=8080 npm run demo:cluster`);
  }
  const processes = new Processes();
  let isEnding = false;
  let stop = () => processes.stop();
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => {
      isEnding = true;
      stop();
    });
  }
  console.log("Starting Redis, Sentinels, nodes and haproxy …");
  try {
    const demo = await start({ port, processes });
    stop = demo.stop;
    if (isEnding) return await stop();
    const list = (/** @type {{ name: string, port: number }[]} */ all) =>
      all.map(({ name, port: at }) => `${name} :${at}`).join("  ");
    const kinds = demo.nodes.map(({ name, framework, port: at }) => `${name} ${framework} :${at}`).join("  ");
    console.log(`
holdfast: one session, and anything may die

  The page     ${demo.url}
  For curl     ${demo.site}   (POST /count, GET /)
  Nodes        ${kinds}
  Redis        ${list(demo.redis.servers)}
  Sentinels    ${list(demo.redis.sentinels)}

Ctrl-C ends it.`);
  } catch (error) {
    if (!isEnding) throw error;
  }
}

/** @param {Error} error */
function report(error) {
  console.error(error.message);
  process.exitCode = 1;
}

if (realpathSync(process.argv[1] ?? "") === import.meta.filename) main().catch(report);
