// @ts-check
/**
 * The servers of a chaos run: haproxy, one app process of each framework, and Redis with Sentinel or as a Cluster
 * behind a network that can cut a server off. Called by `run.mjs`.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../../examples/cluster/free-port.mjs";
import { Processes, until } from "../../../examples/cluster/processes.mjs";
import { ask } from "../../../examples/cluster/redis.mjs";
import { group, startSentinel } from "../../../examples/cluster/sentinel.mjs";
import { isFollowed } from "../../support/redis-followers.mjs";
import { startNetwork } from "./network.mjs";
import { startRedisCluster } from "./redis-cluster.mjs";

/**
 * @typedef {"sentinel" | "cluster"} Topology
 * @typedef {Awaited<ReturnType<typeof startCluster>>} ChaosCluster
 * @typedef {{ name: string, framework: string, port: number }} Node
 */

const frameworks = ["express", "koa", "fastify"];
const app = join(import.meta.dirname, "..", "checker", "app.mjs");

/** How long a master may be silent before the others replace it: `down-after` of Sentinel, `node-timeout` of Cluster. */
export const silenceMs = { sentinel: 500, cluster: 1000 };

/** Of each master of a Cluster. Where writes are confirmed, one is to be left when another has taken over. */
const replicas = { usual: 1, durable: 2 };

/**
 * Requests of one session go to all nodes in turn, so that they race. Only what never reached a node is sent again.
 * @param {{ port: number, nodes: Node[] }} options
 */
const balancerConfig = ({ port, nodes }) => `
global
  maxconn 1000
defaults
  mode http
  timeout connect 500ms
  timeout client 30s
  timeout server 4s
  retries 3
  option redispatch 1
  retry-on conn-failure
frontend site
  bind 127.0.0.1:${port}
  default_backend nodes
backend nodes
  balance roundrobin
  option httpchk
  http-check send meth GET uri /?op=health
  default-server check inter 250ms fall 2 rise 1
${nodes.map((node) => `  server ${node.name} 127.0.0.1:${node.port}`).join("\n")}
`;

/**
 * @param {Processes} processes
 * @param {Node[]} nodes
 */
async function startBalancer(processes, nodes) {
  const port = await freePort();
  const file = join(processes.folder("lb"), "haproxy.cfg");
  writeFileSync(file, balancerConfig({ port, nodes }));
  await processes.start("lb", { command: "haproxy", args: ["-db", "-f", file] });
  await processes.ready("lb", async () => (await fetch(`http://127.0.0.1:${port}/?op=health`)).ok);
  return port;
}

/**
 * @param {Processes} processes
 * @param {object} settings of each app
 */
async function startNodes(processes, settings) {
  return Promise.all(
    frameworks.map(async (framework, index) => {
      const node = { name: `n${index + 1}`, framework, port: await freePort() };
      const args = [app, JSON.stringify({ ...settings, ...node })];
      await processes.start(node.name, { command: process.execPath, args, env: { NODE_ENV: "test" } });
      await processes.ready(node.name, async () => (await fetch(`http://127.0.0.1:${node.port}/?op=health`)).ok);
      return node;
    }),
  );
}

/**
 * @param {Processes} processes
 * @param {import("./network.mjs").Network} network
 * @param {Topology} topology
 * @param {boolean} isDurable
 */
async function startRedis(processes, network, topology, isDurable) {
  if (topology === "cluster") {
    const replicasEach = isDurable ? replicas.durable : replicas.usual;
    return startRedisCluster(processes, network, { nodeTimeoutMs: silenceMs.cluster, replicasEach });
  }
  const { publish, sourceOf } = network;
  const redis = await startSentinel(processes, { publish, sourceOf, downAfterMs: silenceMs.sentinel });
  return {
    ...redis,
    masters: async () => [await redis.master()].filter((server) => server !== undefined),
    /** As an operator does it. */
    handOver: () => ask(redis.sentinels[0]?.port ?? 0, "SENTINEL", "FAILOVER", group),
  };
}

/** @param {{ topology: Topology, durability?: object | undefined }} options */
export async function startCluster({ topology, durability }) {
  /** Nodes that nobody killed. @type {Set<string>} */
  const died = new Set();
  /** @type {Set<string>} */
  const killed = new Set();
  const processes = new Processes((name, state) => {
    if (state === "down" && !killed.has(name)) died.add(name);
  });
  const network = await startNetwork();
  const stop = async () => {
    await processes.stop();
    await network.stop();
  };
  try {
    const redis = await startRedis(processes, network, topology, durability !== undefined);
    const nodes = await startNodes(processes, { url: redis.url, durability });
    const port = await startBalancer(processes, nodes);
    /** Whether every Redis is in its place, and what is acknowledged from here on gets to a replica. */
    const isWhole = async () => {
      if (!(await redis.isWhole())) return false;
      const masters = await redis.masters();
      return (await Promise.all(masters.map((master) => isFollowed(master, redis.servers)))).every(Boolean);
    };
    await until(isWhole, "replicas that have what their masters acknowledge", 30_000);
    return {
      topology,
      processes,
      network,
      redis,
      nodes,
      port,
      died,
      isWhole,
      /** SIGKILL on purpose. @param {string} name */
      kill: (name) => {
        killed.add(name);
        return processes.kill(name);
      },
      /** @param {string} name */
      revive: async (name) => {
        await processes.revive(name);
        killed.delete(name);
      },
      /** Waits until each node reads from Redis again: a login is all it takes to make it ask. */
      async serves() {
        for (const { name, port: direct } of nodes) {
          const url = `http://127.0.0.1:${direct}/?op=login&life=warm`;
          await until(async () => (await fetch(url)).status === 200, `${name} to find its store again`);
        }
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
