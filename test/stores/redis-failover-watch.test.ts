/**
 * Which master the store trusts, by what the Sentinels say: told here by two Redis servers in their place, on which the
 * test publishes word for word what Sentinels publish. With real ones: `redis-failover.test.ts`.
 */
import { createServer } from "node:net";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { freePort } from "../../examples/cluster/free-port.mjs";
import { FailoverWatch } from "../../src/stores/redis-failover.ts";
import { until } from "../support/deferred.ts";
import { expectTook } from "../support/in-time.ts";
import { listenOn } from "../support/redis-processes.mjs";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

let master: RedisServer;
let tellers: RedisServer[];

beforeAll(async () => {
  [master, ...tellers] = await Promise.all([startRedis(), startRedis(), startRedis()]);
});
afterAll(async () => {
  await Promise.all([master, ...tellers].map((server) => server.stop()));
});

const other = "127.0.0.1 7002";

async function setUp() {
  const own = new Redis(master.port, { disconnectTimeout: 60_000 });
  const speakers = tellers.map(({ port }) => new Redis(port));
  const sentinels = tellers.map(({ port }) => ({ host: "127.0.0.1", port }));
  // The client that such Sentinels would have led to `master`.
  const client = Object.create(own, { options: { value: { ...own.options, sentinels, name: "sessions" } } });
  await own.ping();
  const watch = new FailoverWatch(client, () => undefined);
  onTestFinished(() => {
    watch.close();
    for (const connection of [own, ...speakers]) connection.disconnect();
  });
  const channels = ["+elected-leader", "+promoted-slave", "+switch-master"];
  for (const speaker of speakers) {
    const subscribed = async () => (await speaker.pubsub("NUMSUB", ...channels)).filter((n) => n === 1).length === 3;
    await until(subscribed, "the watch to listen");
  }
  /** Says it, and waits until the watch judges the master as it then must. */
  const say = async (from: number, channel: string, words: string, isReplaced: boolean): Promise<void> => {
    await speakers[from]?.publish(channel, words);
    await until(() => watch.isReplaced === isReplaced, `${channel} ${words} to count`);
  };
  return { own, watch, say, here: `127.0.0.1 ${master.port}` };
}

it("a master is left when a failover of it has a leader, and trusted again when that is off", async () => {
  const { watch, say, here } = await setUp();
  expect(watch.isReplaced).toBe(false);
  await say(0, "+elected-leader", `master sessions ${here}`, true);
  await say(0, "-failover-abort-no-good-slave", `master sessions ${here}`, false);
});

it("one that hangs is left at once, not when it ends its side of the connection", async () => {
  const { own, say, here } = await setUp();
  master.pause();
  onTestFinished(() => master.resume());
  const isClosed = new Promise((resolve) => own.once("close", resolve));
  await say(0, "+elected-leader", `master sessions ${here}`, true);
  await isClosed;
});

it("the others of its group are trusted as what the Sentinels agree on", async () => {
  const { say, here } = await setUp();
  await say(0, "+elected-leader", `master sessions ${here}`, true);
  await say(0, "+promoted-slave", `slave ${other.replace(" ", ":")} ${other} @ sessions ${here}`, true);
  await say(0, "+switch-master", `sessions ${here} ${other}`, true);
  // The next failover brings this one back.
  await say(0, "+switch-master", `sessions ${other} ${here}`, false);
});

it("one that was promoted is not trusted while another leader's failover of the same old master is under way", async () => {
  const { own, say, here } = await setUp();
  // Led to the one that was promoted, as ioredis is after the switch.
  const next = tellers[0]?.port ?? 0;
  await say(0, "+elected-leader", `master sessions ${here}`, true);
  own.options.port = next;
  own.disconnect(true);
  await say(0, "+promoted-slave", `slave s1 127.0.0.1 ${next} @ sessions ${here}`, false);
  await say(0, "+switch-master", `sessions ${here} 127.0.0.1 ${next}`, false);
  await say(1, "+elected-leader", `master sessions ${here}`, true);
  await say(1, "+promoted-slave", `slave s2 ${other} @ sessions ${here}`, true);
  await say(1, "-failover-abort-slave-timeout", `master sessions ${here}`, false);
});

it("what Sentinels say of servers under other addresses, or of another group, decides nothing", async () => {
  const { say, here } = await setUp();
  await say(0, "+elected-leader", "master sessions redis-1.internal 6379", false);
  await say(0, "+elected-leader", `master jobs ${here}`, false);
  // What came before it on this connection has been heard.
  await say(0, "+elected-leader", `master sessions ${here}`, true);
});

it("a Sentinel that is gone is not waited for, and one that says nothing half a second", async () => {
  const silent = createServer((socket) => socket.on("error", () => undefined));
  const [gone, mute] = [await freePort(), await listenOn(silent)];
  const own = new Redis(master.port);
  onTestFinished(() => {
    own.disconnect();
    silent.close();
  });
  await own.ping();
  const informed = async (ports: readonly number[]): Promise<number> => {
    const sentinels = ports.map((port) => ({ host: "127.0.0.1", port }));
    const client = Object.create(own, { options: { value: { ...own.options, sentinels, name: "sessions" } } });
    const from = performance.now();
    let watch: FailoverWatch | undefined;
    await new Promise<void>((resolve) => {
      watch = new FailoverWatch(client, resolve);
      expect(watch.isInformed).toBe(false);
    });
    expect(watch?.isInformed).toBe(true);
    watch?.close();
    return performance.now() - from;
  };
  const [speaking = 0] = tellers.map(({ port }) => port);
  const [whereOneIsGone, whereOneIsMute] = [await informed([gone, speaking]), await informed([mute, speaking])];
  expect(whereOneIsMute).toBeGreaterThan(490);
  expectTook(whereOneIsGone, whereOneIsMute, "an answer where a Sentinel is gone");
});
