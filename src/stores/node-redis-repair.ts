/**
 * Connects a node-redis client again that went deaf. Before version 5.10 it takes a connection that was lost during the
 * handshake for ready: the handshake's last commands are allowed to fail, so that nobody sees why they did. From then on
 * nothing is answered, and nothing is tried again either. It shows in the order of events: an `error` between a `connect`
 * and its `ready`. `redis-from-node-redis.ts` calls it for each client that is handed in.
 */

/** What is used of one connection: a single client, or the one that a Cluster or Sentinel client keeps for a node. */
interface Connection {
  readonly isOpen: boolean;
  readonly isReady?: boolean;
  connect(): Promise<unknown>;
  destroy(): unknown;
  on(event: string, listener: () => void): unknown;
}

/** What is used of a Cluster: `client` is there once a node is needed. */
interface Cluster {
  readonly masters: readonly { readonly client?: Connection }[];
  on(event: string, listener: () => void): unknown;
}

/** What is used of a Sentinel client. `_execute` is in no documentation: it lends the connection to the master. */
interface Sentinel {
  _execute?(isReadonly: boolean, use: (connection: Connection) => Promise<void>): Promise<void>;
  on(event: string, listener: (event: { type?: string }) => void): unknown;
}

/** From now on the client does not stay deaf. `restart` connects a single one again. */
export function repairDeafness(client: object, restart: () => void): void {
  // node-redis's own classes, told apart as in redis-from-node-redis.ts.
  if ("getSentinelNode" in client) repairMasters(client as unknown as Sentinel);
  else if ("nodeClient" in client) repairNodes(client as unknown as Cluster);
  else repair(client as Connection, restart);
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

function repairNodes(cluster: Cluster): void {
  const look = (): void => {
    for (const { client } of cluster.masters) if (client !== undefined) repair(client, () => again(client));
  };
  look();
  cluster.on("connect", look);
  cluster.on("node-connect", look);
}

/** It lends a connection once that is ready: one that is deaf by then is not seen to be. */
function repairMasters(sentinel: Sentinel): void {
  sentinel.on("topology-change", ({ type }) => {
    if (type !== "MASTER_CHANGE") return;
    const seen = sentinel._execute?.(false, async (connection) => repair(connection, () => again(connection)));
    // It could not be lent: there will be another.
    seen?.catch(() => undefined);
  });
}
