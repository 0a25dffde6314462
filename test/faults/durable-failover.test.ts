/**
 * A master killed under durable load, behind Sentinels and in a Cluster: the connections of their own find the new master,
 * what was confirmed is there, and no client misses its own save, though replicas answer its reads. The Cluster is for `HOLDFAST_FULL`.
 */
import { afterEach, expect, test } from "vitest";
import { redisStore } from "../../src/stores/redis.ts";
import { isFull, tally } from "../support/counts.ts";
import { startCluster } from "../support/redis-cluster.mjs";
import { startSentinels } from "../support/redis-sentinels.mjs";
import { until } from "../support/redis-server.ts";
import { Group, whatIsMissing } from "./window-clients.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const fleets = [
  ["behind Sentinels", () => startSentinels({ replicas: 2 })],
  ["in a Cluster", () => startCluster({ masters: 3, replicas: 1 })],
] as const;

test.each(isFull ? fleets : fleets.slice(0, 1))(
  "%s a killed master costs a pause, and nothing that was confirmed",
  async (what, start) => {
    const fleet = await start();
    ends.push(() => fleet.stop());
    const durability = { timeout: 300, for: "all" } as const;
    const group = new Group(redisStore(fleet.url, { durability, readFrom: "replica", maxStaleness: 500 }));
    ends.push(() => group.stop());
    const { seen } = group;
    group.start(12);
    await until(() => seen.saved.length >= 100 && seen.logouts.length >= 3, "the clients to be at work");
    const [master] = await fleet.masters();
    if (master === undefined) throw new Error("no master");
    const killedAt = performance.now();
    await master.kill();
    await fleet.failedOver(master);
    if (fleet.kind === "cluster") {
      // The new master has no replica that could confirm anything, until the old one follows it.
      await master.start();
      await fleet.settled();
    }
    const before = seen.saved.length;
    await until(() => seen.saved.length >= before + 200, "the clients to be at work again");
    await group.stop();

    const times = [killedAt, ...seen.saved.map(({ at }) => at).filter((at) => at > killedAt)];
    const pause = Math.max(...times.map((at, index) => at - (times[index - 1] ?? at)));
    const missing = await whatIsMissing(seen, redisStore(fleet.url));
    console.info(
      `${what}: ${seen.saved.length} saves confirmed, ${missing.lost.length} lost; longest pause ` +
        `${Math.round(pause)} ms; refused: ${JSON.stringify(Object.fromEntries(seen.failures))}`,
    );
    tally("T8", "saves confirmed beside a killed master", seen.saved.length);
    tally("T8", "of those lost", missing.lost.length);
    expect(missing).toEqual({ lost: [], loggedOut: 0, resurrected: 0 });
    expect(seen.stale).toBe(0);
  },
);
