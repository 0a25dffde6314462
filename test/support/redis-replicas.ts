/**
 * A master with replicas, each behind a proxy that can stall replication: single, and in a Cluster. Nobody fails over by
 * himself here: a test promotes whom it wants. Called by the tests of durability and of reads from replicas.
 */

import { freePort } from "../../examples/cluster/free-port.mjs";
import { type RedisServer, startRedis, until } from "./redis-server.ts";
import { type RedisCluster, startCluster } from "./redis-topologies.ts";
import { startProxy, type TcpProxy } from "./tcp-proxy.ts";

/** A running master and its replicas. */
export interface Replicated {
  readonly master: RedisServer;
  readonly replicas: readonly RedisServer[];
  /** The master's way to each replica, in their order: `isStalled` stops what it sends. */
  readonly ways: readonly TcpProxy[];
  /** Stalls all of them, or lets everything through. */
  stall(isStalled: boolean): void;
  /** Ends the master for good, and makes the first replica a master that the others follow. */
  failOver(): Promise<RedisServer>;
  /** Resolves when every replica has all that the master has. */
  inStep(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a master and `count` replicas. */
export async function startReplicated(count = 1): Promise<Replicated> {
  const args = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
  const master = await startRedis({ args });
  const ways: TcpProxy[] = [];
  const replicas: RedisServer[] = [];
  for (let index = 0; index < count; index++) {
    const way = await startProxy(master.port);
    ways.push(way);
    replicas.push(await startRedis({ args: [...args, "--replicaof", "127.0.0.1", String(way.port)] }));
  }
  const group: Replicated = {
    master,
    replicas,
    ways,
    stall(isStalled) {
      for (const way of ways) way.isStalled = isStalled;
    },
    async failOver() {
      await master.kill();
      const [first, ...others] = replicas;
      if (first === undefined) throw new Error("no replica");
      await first.command("REPLICAOF", "NO", "ONE");
      for (const other of others) await other.command("REPLICAOF", "127.0.0.1", String(first.port));
      return first;
    },
    async inStep() {
      const offset = await offsetOf(master, "master_repl_offset");
      for (const replica of replicas) {
        await until(async () => (await offsetOf(replica, "slave_repl_offset")) >= offset, "the replica to catch up");
      }
    },
    async stop() {
      await Promise.all([...ways, master, ...replicas].map((each) => each.stop()));
    },
  };
  try {
    await followed(replicas);
  } catch (error) {
    await group.stop();
    throw error;
  }
  return group;
}

/** Starts a Cluster of `size` masters, each with a replica. */
export async function startReplicatedCluster(size = 2): Promise<RedisCluster & { replicas: readonly RedisServer[] }> {
  const cluster = await startCluster(size);
  const replicas: RedisServer[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all([cluster.stop(), ...replicas.map((replica) => replica.stop())]);
  };
  try {
    for (const master of cluster.nodes) {
      const id = bulk(await master.command("CLUSTER", "MYID"));
      const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
      const replica = await startRedis({ args: [...args, "--cluster-port", String(await freePort())] });
      replicas.push(replica);
      await replica.command("CLUSTER", "MEET", "127.0.0.1", String(master.port), await busPortOf(master));
      await until(
        async () => (await replica.command("CLUSTER", "REPLICATE", id)) === "+OK",
        "the replica to hear of its master",
      );
    }
    await followed(replicas);
    const everybody = [...cluster.nodes, ...replicas];
    await until(async () => {
      const views = await Promise.all(everybody.map((node) => node.command("CLUSTER", "NODES")));
      return views.every(
        (view) => (view.match(/slave/g) ?? []).length === replicas.length && !view.includes("handshake"),
      );
    }, "the Cluster to know its replicas");
  } catch (error) {
    await stop();
    throw error;
  }
  return { ...cluster, replicas, stop };
}

async function followed(replicas: readonly RedisServer[]): Promise<void> {
  for (const replica of replicas) {
    await until(
      async () => (await replica.command("INFO", "replication")).includes("master_link_status:up"),
      "the replica to follow",
    );
  }
}

async function offsetOf(server: RedisServer, field: string): Promise<number> {
  const info = await server.command("INFO", "replication");
  return Number(new RegExp(`^${field}:(\\d+)`, "m").exec(info)?.[1] ?? "0");
}

async function busPortOf(server: RedisServer): Promise<string> {
  const view = await server.command("CLUSTER", "NODES");
  return /:\d+@(\d+)[^\n]*myself/.exec(view)?.[1] ?? "";
}

function bulk(reply: string): string {
  return reply.split("\r\n")[1] ?? "";
}
