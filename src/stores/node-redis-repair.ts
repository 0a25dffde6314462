/**
 * What is mended of a node-redis client, which is otherwise left as it is. `redis-from-node-redis.ts` calls it for each
 * one that is handed in.
 *
 * Before version 5.10 a client takes a connection that was lost during the handshake for ready: the handshake's last
 * commands are allowed to fail, so that nobody sees why they did. From then on nothing is answered, and nothing is tried
 * again either. It shows in the order of events: an `error` between a `connect` and its `ready`. It is connected again.
 *
 * And a Cluster client that lost a master goes on looking for that one: version 5 until it is back, version 6 for five
 * seconds; one that hangs it does not leave while commands are sent to it, as each of them puts its `socketTimeout` off.
 * Whom the others have in its place is asked at each attempt to connect again, and where a command got no answer.
 */
import { randomInt } from "node:crypto";
import { type Cluster, type Connection, eachMaster, kindOf } from "./node-redis-masters.ts";

/**
 * From now on the client does not stay deaf, nor with a master that is gone. `restart` connects a single one again. What
 * is returned is to be called where a Cluster's node, `host:port`, gave no answer in time.
 */
export function repairClient(client: object, restart: () => void): (silent: string) => void {
  const kind = kindOf(client);
  // node-redis's own classes, by their kind.
  if (kind === "single") repair(client as Connection, restart);
  else eachMaster(client, (connection) => repair(connection, () => again(connection)));
  return kind === "cluster" ? followMasters(client as unknown as Cluster & Mapped) : () => undefined;
}

const repaired = new WeakSet<Connection>();

function repair(connection: Connection, restart: () => void): void {
  if (repaired.has(connection)) return;
  repaired.add(connection);
  let wasLost = false;
  connection.on("connect", () => {
    wasLost = false;
  });
  connection.on("error", () => {
    wasLost = true;
  });
  connection.on("ready", () => {
    if (!wasLost) return;
    // Not yet: its own loop of attempts ends after this, and would go on beside the next one.
    setImmediate(() => {
      if (connection.isOpen && connection.isReady === true) restart();
    });
  });
}

function again(connection: Connection): void {
  connection.destroy();
  // A failure is told by its `error` event.
  connection.connect().catch(() => undefined);
}

/** Each of them connects to a node and asks. */
const askEveryMs = 250;

/** What is used of a Cluster's map of slots, which is in no documentation: asks that node for it, or else the others. */
interface Mapped {
  readonly _slots?: { rediscover?(startWith: Connection): Promise<unknown> };
}

function followMasters(cluster: Cluster & Mapped): (silent: string) => void {
  let askedAt = Number.NEGATIVE_INFINITY;
  const ask = (silent: string): void => {
    const now = performance.now();
    const others = cluster.masters.filter(({ address, client }) => address !== silent && client?.isReady === true);
    if (others.length === 0 || now - askedAt < askEveryMs) return;
    const one = others[randomInt(others.length)]?.client;
    if (one === undefined) return;
    askedAt = now;
    // Nobody knows: it is asked again at the next attempt.
    cluster._slots?.rediscover?.(one).catch(() => undefined);
  };
  cluster.on("node-reconnecting", () => {
    // Version 5 goes on for a node that is no master any more: nothing is to be asked then.
    const lost = cluster.masters.find(({ client }) => client?.isReady === false);
    if (lost?.address !== undefined) ask(lost.address);
  });
  return ask;
}
