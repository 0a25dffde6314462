// @ts-check
/**
 * Whether what a master acknowledges gets to its replicas: what a fault has to wait for, if nothing acknowledged may be
 * lost by it. Needs Redis 7. Called by the fleets of the failover tests and by the chaos run.
 */
import { ask, info } from "../../examples/cluster/redis.mjs";

/** @typedef {{ port: number, publicPort: number }} Server `publicPort`: where its replicas find it */

/**
 * Whether every replica of a master that answers has what the master was told a moment ago. Neither `state=online` nor
 * `master_link_status:up` says so: after a full sync without a disk the master sends what came since at the replica's
 * next ACK, which is the one a second later when the first came before the master saw its child end.
 * @param {Server} master
 * @param {readonly Server[]} servers among them its replicas
 */
export async function isFollowed(master, servers) {
  // Changes nothing, and is replicated all the same: where nobody writes, equal offsets would say nothing.
  await ask(master.port, "FUNCTION", "FLUSH");
  const { master_repl_offset: sent } = await info(master.port, "replication");
  const states = await Promise.all(servers.map(({ port }) => info(port, "replication").catch(() => undefined)));
  return states
    .filter((state) => state?.role === "slave" && Number(state.master_port) === master.publicPort)
    .every((state) => state?.master_link_status === "up" && Number(state.slave_repl_offset) >= Number(sent));
}
