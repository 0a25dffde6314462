/**
 * The window of asynchronous replication: a proxy stalls it, the master dies, the replica takes over. Without
 * `durability` what was acknowledged in the window is lost, and logouts are undone; with it nothing is. The figures are
 * printed. `HOLDFAST_FULL` adds the longest stall, and a real Sentinel that takes its time to demote.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterEach, describe, expect, test, vi } from "vitest";
import { type DurabilityOptions, redisStore } from "../../src/stores/redis.ts";
import { isFull, tally } from "../support/counts.ts";
import { startReplicated } from "../support/redis-replicas.ts";
import { type RedisServer, until } from "../support/redis-server.ts";
import { startSentinel } from "../support/redis-topologies.ts";
import { Group, type Missing, whatIsMissing } from "./window-clients.ts";

const modes: Record<string, DurabilityOptions | undefined> = {
  none: undefined,
  security: { timeout: 200, for: "security" },
  all: { timeout: 200, for: "all" },
};
const clientsEach = 6;
const lags = isFull ? [200, 300, 1_000, 4_000] : [200, 300, 1_000];

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function tell(what: string, groups: ReadonlyMap<string, Group>, found: ReadonlyMap<string, Missing>): void {
  for (const [mode, { seen }] of groups) {
    const { lost, loggedOut, resurrected } = found.get(mode) ?? { lost: [], loggedOut: 0, resurrected: 0 };
    tally("T8", `acknowledged saves (durability ${mode})`, seen.saved.length);
    tally("T8", `of them lost (${mode})`, lost.length);
    tally("T8", `logins or logouts undone (${mode})`, loggedOut + resurrected);
    console.info(
      `${what}, durability ${mode}: ${lost.length} of ${seen.saved.length} acknowledged saves lost, ` +
        `${loggedOut} of ${seen.logins.length} logins, ${resurrected} of ${seen.logouts.length} logouts undone; ` +
        `refused: ${JSON.stringify(Object.fromEntries(seen.failures))}`,
    );
  }
}

async function look(groups: ReadonlyMap<string, Group>, url: string): Promise<Map<string, Missing>> {
  const found = new Map<string, Missing>();
  for (const [mode, { seen }] of groups) {
    found.set(mode, await whatIsMissing(seen, redisStore(url, { prefix: `${mode}:` })));
  }
  return found;
}

const nothing = { lost: [], loggedOut: 0, resurrected: 0 };

describe("a master that dies while replication is stalled", () => {
  test.each(lags)("for %i ms: nothing acknowledged is lost where it is durable", async (lagMs) => {
    const redis = await startReplicated(1);
    ends.push(() => redis.stop());
    const groups = new Map<string, Group>();
    for (const [mode, durability] of Object.entries(modes)) {
      const options = durability === undefined ? {} : { durability };
      groups.set(mode, new Group(redisStore(redis.master.url, { prefix: `${mode}:`, ...options })));
    }
    for (const group of groups.values()) {
      group.start(clientsEach);
      ends.push(() => group.stop());
    }
    await until(
      () => [...groups.values()].every(({ seen }) => seen.saved.length >= 30 && seen.logouts.length >= 3),
      "every group to be at work",
    );
    redis.stall(true);
    const stalledAt = performance.now();
    await delay(lagMs);
    const left = await redis.failOver();
    await Promise.all([...groups.values()].map((group) => group.stop()));

    const found = await look(groups, left.url);
    tell(`stalled for ${lagMs} ms`, groups, found);
    expect(found.get("all")).toEqual(nothing);
    expect(found.get("security")).toMatchObject({ loggedOut: 0, resurrected: 0 });
    const lost = found.get("none")?.lost ?? [];
    expect(lost.length).toBeGreaterThan(0);
    // What was acknowledged before the stall had left for the replica, but for the last turns of the event loop.
    expect(Math.min(...lost)).toBeGreaterThan(stalledAt - 250);
  });
});

describe("a master that hung, and wakes when another one has taken over", () => {
  /** Clients as ioredis makes them: no timeouts, and they stay with a server that hangs. */
  function groupsOn(client: Redis): Map<string, Group> {
    vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    client.on("error", () => {});
    ends.push(() => client.disconnect());
    const groups = new Map<string, Group>();
    for (const mode of ["none", "all"]) {
      const durability = modes[mode];
      const options = durability === undefined ? {} : { durability };
      groups.set(mode, new Group(redisStore(client, { prefix: `${mode}:`, ...options })));
    }
    for (const group of groups.values()) {
      group.start(clientsEach);
      ends.push(() => group.stop());
    }
    return groups;
  }

  async function atWork(groups: ReadonlyMap<string, Group>): Promise<Group["seen"]["saved"]> {
    await until(() => [...groups.values()].every(({ seen }) => seen.logouts.length >= 3), "every group to be at work");
    return groups.get("none")?.seen.saved ?? [];
  }

  async function expectOnlyTheDurable(what: string, groups: ReadonlyMap<string, Group>, url: string): Promise<void> {
    await Promise.all([...groups.values()].map((group) => group.stop()));
    const found = await look(groups, url);
    tell(what, groups, found);
    expect(found.get("all")).toEqual(nothing);
    expect(found.get("none")?.lost.length).toBeGreaterThan(0);
  }

  test("swallows what it acknowledges until it is demoted, unless that is durable", async () => {
    const redis = await startReplicated(1);
    ends.push(() => redis.stop());
    const [replica] = redis.replicas;
    if (replica === undefined) throw new Error("no replica");
    const groups = groupsOn(new Redis(redis.master.port));
    const saved = await atWork(groups);
    redis.master.pause();
    await replica.command("REPLICAOF", "NO", "ONE");
    const before = saved.length;
    redis.master.resume();
    await until(() => saved.length >= before + 100, "the old master to acknowledge");
    await redis.master.command("REPLICAOF", "127.0.0.1", String(replica.port));
    await expectOnlyTheDurable("hung, woken, demoted", groups, replica.url);
  });

  test.runIf(isFull)("swallows nothing where Sentinels tell the store that it was given up", async () => {
    const redis = await startSentinel();
    ends.push(() => redis.stop());
    const groups = groupsOn(new Redis({ sentinels: redis.sentinels, name: redis.name }));
    await atWork(groups);
    // A Sentinel that changes a server's role ends all connections to it, this one too.
    const isOf = (role: string, server: RedisServer): Promise<boolean> =>
      server.command("INFO", "replication").then(
        (answer) => answer.includes(`role:${role}`),
        () => false,
      );
    redis.master.pause();
    await until(() => isOf("master", redis.replica), "the Sentinel to promote");
    const wokenAt = performance.now();
    redis.master.resume();
    await until(() => isOf("slave", redis.master), "the Sentinel to demote");
    await Promise.all([...groups.values()].map((group) => group.stop()));
    const found = await look(groups, redis.replica.url);
    tell("hung, woken, demoted by Sentinel", groups, found);
    expect(found.get("all")).toEqual(nothing);
    expect(found.get("none")?.lost.filter((at) => at > wokenAt)).toEqual([]);
  });
});
