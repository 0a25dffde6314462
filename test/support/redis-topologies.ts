/**
 * Several real redis-servers that belong together: a Cluster of masters, and a master with replica and Sentinel.
 * Ready when they resolve; ended with `stop()`, or with the test process. No test logic.
 */

import { freePort } from "../../examples/cluster/free-port.mjs";
import { type RedisServer, rawCommand, startRedis, until } from "./redis-server.ts";

/** A running Cluster of masters that share all slots. */
export interface RedisCluster {
  readonly nodes: readonly RedisServer[];
  /** For `new Cluster(startupNodes)`. */
  readonly startupNodes: { host: string; port: number }[];
  stop(): Promise<void>;
}

/** A running master with one replica, watched by one Sentinel. */
export interface RedisSentinel {
  readonly master: RedisServer;
  readonly replica: RedisServer;
  readonly sentinel: RedisServer;
  /** For `new Redis({ sentinels, name })`. */
  readonly sentinels: { host: string; port: number }[];
  readonly name: string;
  stop(): Promise<void>;
}

const slotCount = 16_384;

async function stopAll(servers: readonly RedisServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop()));
}

/** Starts a Cluster of `size` masters without replicas. */
export async function startCluster(size = 3): Promise<RedisCluster> {
  const nodes: RedisServer[] = [];
  const busPorts: number[] = [];
  try {
    for (let index = 0; index < size; index += 1) {
      const busPort = await freePort();
      busPorts.push(busPort);
      const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", String(busPort)];
      nodes.push(await startRedis({ args }));
    }
    await join(nodes, busPorts);
  } catch (error) {
    await stopAll(nodes);
    throw error;
  }
  return {
    nodes,
    startupNodes: nodes.map(({ port }) => ({ host: "127.0.0.1", port })),
    stop: () => stopAll(nodes),
  };
}

async function join(nodes: readonly RedisServer[], busPorts: readonly number[]): Promise<void> {
  for (const [index, node] of nodes.entries()) {
    const from = Math.floor((slotCount * index) / nodes.length);
    const to = Math.floor((slotCount * (index + 1)) / nodes.length) - 1;
    await expectOk(node, "CLUSTER", "SET-CONFIG-EPOCH", String(index + 1));
    await expectOk(node, "CLUSTER", "ADDSLOTSRANGE", String(from), String(to));
    const [first] = nodes;
    if (index > 0 && first !== undefined) {
      await expectOk(node, "CLUSTER", "MEET", "127.0.0.1", String(first.port), String(busPorts[0]));
    }
  }
  for (const node of nodes) {
    await until(async () => {
      const info = await node.command("CLUSTER", "INFO");
      return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${nodes.length}`);
    }, "the Cluster to agree");
  }
}

async function expectOk(node: RedisServer, ...args: string[]): Promise<void> {
  const answer = await node.command(...args);
  if (answer !== "+OK") throw new Error(`${args.join(" ")}: ${answer}`);
}

/** Starts a master, a replica and one Sentinel (quorum 1, down after 500 ms). */
export async function startSentinel(name = "sessions"): Promise<RedisSentinel> {
  const servers: RedisServer[] = [];
  try {
    const master = await startRedis({ args: ["--repl-diskless-sync-delay", "0"] });
    servers.push(master);
    const replica = await startRedis({
      args: ["--replicaof", "127.0.0.1", String(master.port), "--repl-diskless-sync-delay", "0"],
    });
    servers.push(replica);
    await until(
      async () => (await replica.command("INFO", "replication")).includes("master_link_status:up"),
      "the replica to follow",
    );
    const sentinel = await startRedis({
      args: ["--sentinel"],
      config: (port) =>
        [
          `port ${port}`,
          "bind 127.0.0.1",
          `sentinel monitor ${name} 127.0.0.1 ${master.port} 1`,
          `sentinel down-after-milliseconds ${name} 500`,
          `sentinel failover-timeout ${name} 2000`,
          "",
        ].join("\n"),
    });
    servers.push(sentinel);
    await until(
      async () => (await rawCommand(sentinel.port, ["INFO", "sentinel"])).includes("slaves=1"),
      "the Sentinel to see the replica",
    );
    return {
      master,
      replica,
      sentinel,
      sentinels: [{ host: "127.0.0.1", port: sentinel.port }],
      name,
      stop: () => stopAll(servers),
    };
  } catch (error) {
    await stopAll(servers);
    throw error;
  }
}
