/**
 * The failover tests count what a fault loses, so that it must not come while a replica gets nothing of what its master
 * acknowledges. Redis calls such a replica online; this is about the question that the tests ask instead.
 */
import { expect, test } from "vitest";
import { isFollowed } from "../support/redis-followers.mjs";
import { replicationOf } from "../support/redis-nodes.mjs";
import { waitFor } from "../support/redis-processes.mjs";
import { startSentinels } from "../support/redis-sentinels.mjs";

test("a master is followed while its replica gets what it is sent, not while that is only online", async () => {
  const fleet = await startSentinels({ replicas: 1, sentinels: 1, isolable: true });
  try {
    const [master, replica] = fleet.nodes;
    if (master === undefined || replica === undefined) throw new Error("no nodes");
    expect(await isFollowed(master, fleet.nodes)).toBe(true);
    replica.cutOff();
    expect(await isFollowed(master, fleet.nodes)).toBe(false);
    expect(await replicationOf(master)).toContain("state=online");
    expect(await replicationOf(replica)).toContain("master_link_status:up");
    replica.heal();
    await waitFor(() => isFollowed(master, fleet.nodes), "the replica to follow again");
  } finally {
    await fleet.stop();
  }
}, 30_000);
