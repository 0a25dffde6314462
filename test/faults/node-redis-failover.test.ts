/**
 * Masters that are killed, and then hang, under writers whose stores have node-redis clients, versions 5 and 6: behind
 * Sentinels and in a Cluster. A fault waits until replicas have what their master acknowledged; so nothing is lost.
 */
import { setTimeout as pause } from "node:timers/promises";
import keySlot from "cluster-key-slot";
import { createCluster, createSentinel } from "redis";
import { createCluster as createCluster5, createSentinel as createSentinel5 } from "redis5";
import { expect, it, onTestFinished } from "vitest";
import { createSessions, type Sessions } from "../../src/index.ts";
import { type NodeRedisLike, redisStore } from "../../src/stores/redis.ts";
import { Client } from "../support/exchange.ts";
import { expectNotHeldUp } from "../support/in-time.ts";
import { startCluster } from "../support/redis-cluster.mjs";
import { isFollowed } from "../support/redis-followers.mjs";
import { type Fleet, type Node, replicationOf } from "../support/redis-nodes.mjs";
import { waitFor } from "../support/redis-processes.mjs";
import { startSentinels } from "../support/redis-sentinels.mjs";

const secret = "a secret of the tests of node-redis, long enough";
const socket = { socketTimeout: 1_500, reconnectStrategy: (retries: number) => Math.min(50 * retries, 250) };
const tuned = { socket, disableOfflineQueue: true };

/** Redis, clients of both versions, and which master holds a session. */
interface Scene {
  fleet: Fleet;
  clients: NodeRedisLike[];
  masterOf(id: string): Promise<Node | undefined>;
}

async function behindSentinels(): Promise<Scene> {
  const fleet = await startSentinels();
  const sentinelRootNodes = fleet.sentinels.map(({ port }) => ({ host: "127.0.0.1", port }));
  const options = { name: "mymaster", sentinelRootNodes, nodeClientOptions: tuned };
  const clients = [createSentinel(options), createSentinel5(options)];
  return { fleet, clients, masterOf: async () => (await fleet.masters())[0] };
}

async function inCluster(): Promise<Scene> {
  const fleet = await startCluster();
  const rootNodes = fleet.nodes.map(({ publicPort }) => ({ url: `redis://127.0.0.1:${publicPort}` }));
  const clients = [createCluster({ rootNodes, defaults: tuned }), createCluster5({ rootNodes, defaults: tuned })];
  return { fleet, clients, masterOf: async (id) => (await fleet.shardOf(keySlot(`holdfast:${id}`))).master };
}

/** A browser that does nothing but count in its session. */
interface Writer {
  browser: Client;
  sent: number;
  acknowledged: number;
  writtenAt: number;
}

/** One for each master, as the scene has them now. */
async function logIn(sessions: Sessions, { fleet, masterOf }: Scene): Promise<Writer[]> {
  const writers = new Map<Node, Writer>();
  const masters = await fleet.masters();
  await waitFor(async () => {
    const browser = new Client(sessions);
    let id = "";
    await browser.request((session) => {
      Object.assign(session, { user: "ada", count: 0 });
      id = session.id;
    });
    const master = await masterOf(id);
    if (master !== undefined) writers.set(master, { browser, sent: 0, acknowledged: 0, writtenAt: 0 });
    return masters.every((each) => writers.has(each));
  }, "a session on each master");
  return [...writers.values()];
}

async function write(writer: Writer, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    writer.sent += 1;
    try {
      await writer.browser.request(async (session) => {
        expect(session.user).toBe("ada");
        await session.update((data) => Object.assign(data, { count: Number(data.count) + 1 }));
      });
      writer.acknowledged += 1;
      writer.writtenAt = performance.now();
    } catch (error) {
      expect(error).toMatchObject({ status: 503 });
    }
    await pause(10);
  }
}

/** The fault, until another master is there and everybody has written to it. */
async function strike(fault: "kill" | "hang", { fleet }: Scene, writers: readonly Writer[]): Promise<void> {
  const awake = fleet.nodes.filter(({ isUp }) => isUp);
  let master: Node | undefined;
  await waitFor(async () => {
    for (const each of await fleet.masters()) {
      const hasReplica = (await replicationOf(each)).includes("state=online");
      if (hasReplica && (await isFollowed(each, awake))) master = each;
    }
    return master !== undefined;
  }, "a master that is followed");
  if (master === undefined) throw new Error("no master");
  if (fault === "kill") await master.kill();
  else master.pause();
  await fleet.failedOver(master);
  const at = performance.now();
  await waitFor(() => writers.every(({ writtenAt }) => writtenAt > at), `writes by all after the ${fault}`);
  console.log(`${fleet.kind}, ${fault}: all have written ${Math.round(performance.now() - at)} ms after the failover`);
  if (fault === "hang") master.resume();
}

it.each([
  ["behind Sentinels", behindSentinels],
  ["in a Cluster", inCluster],
] as const)(
  "%s node-redis 5 and 6 come through a master that is killed and one that hangs: nothing acknowledged is lost, nobody logged out",
  async (_, start) => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on("unhandledRejection", note);
    onTestFinished(() => void process.off("unhandledRejection", note));
    const scene = await start();
    onTestFinished(() => scene.fleet.stop());
    const engines = scene.clients.map((client) =>
      createSessions({ secret, store: redisStore(client), storeTimeout: "1s", ttl: "1h" }),
    );
    onTestFinished(async () => {
      await Promise.all(engines.map((sessions) => sessions.close()));
      for (const client of scene.clients) await client.destroy();
    });
    const writers = (await Promise.all(engines.map((sessions) => logIn(sessions, scene)))).flat();
    const stop = new AbortController();
    const work = Promise.all(writers.map((writer) => write(writer, stop.signal)));
    try {
      for (const fault of ["kill", "hang"] as const) await Promise.race([strike(fault, scene, writers), work]);
    } finally {
      stop.abort();
    }
    await work;
    expectNotHeldUp(500);
    for (const { browser, sent, acknowledged } of writers) {
      expect(acknowledged).toBeGreaterThan(0);
      const found: { user?: unknown; count?: unknown } = {};
      const read = () => browser.request(({ user, count }) => Object.assign(found, { user, count }));
      await waitFor(async () => await read(), "a read of each session");
      // A machine that stood still for longer has Redis replace masters that are well.
      if (found.user !== "ada" || Number(found.count) < acknowledged) expectNotHeldUp(500);
      expect(found.user).toBe("ada");
      expect(found.count).toBeGreaterThanOrEqual(acknowledged);
      expect(found.count).toBeLessThanOrEqual(sent);
    }
    expect(unhandled).toEqual([]);
  },
);
