/**
 * node-redis's three clients (versions 5 and 6) told apart, and the connections to masters that a Cluster or Sentinel
 * client keeps for itself. Imports nothing of node-redis: what is used of it is named below. What is done with the
 * connections is its callers' concern: the check of a client that is handed in, and `node-redis-repair.ts`.
 */

/** Which of the three a client is. */
export type NodeRedisKind = "single" | "cluster" | "sentinel";

/** Tells by what only that one has. */
export function kindOf(client: object): NodeRedisKind {
  if ("getSentinelNode" in client) return "sentinel";
  return "nodeClient" in client ? "cluster" : "single";
}

/** What is used of one connection: a single client, or the one that a Cluster or Sentinel client keeps for a node. */
export interface Connection {
  readonly isOpen: boolean;
  readonly isReady?: boolean;
  readonly options?: object;
  connect(): Promise<unknown>;
  destroy(): unknown;
  on(event: string, listener: () => void): unknown;
}

/** What is used of a Cluster: `client` is there once a node is needed. */
export interface Cluster {
  readonly masters: readonly { readonly address?: string; readonly client?: Connection }[];
  on(event: string, listener: () => void): unknown;
}

/** What is used of a Sentinel client. `_execute` is in no documentation: it lends the connection to the master. */
interface Sentinel {
  readonly isReady?: boolean;
  _execute?(isReadonly: boolean, use: (connection: Connection) => Promise<void>): Promise<void>;
  on(event: string, listener: (event: { type?: string }) => void): unknown;
}

/** Calls `use` with each connection to a master, those there are and those to come; with one perhaps more than once. */
export function eachMaster(client: object, use: (connection: Connection) => void): void {
  // node-redis's own classes, told apart above.
  if (kindOf(client) === "sentinel") eachOfSentinel(client as unknown as Sentinel, use);
  else eachOfCluster(client as unknown as Cluster, use);
}

function eachOfCluster(cluster: Cluster, use: (connection: Connection) => void): void {
  const look = (): void => {
    for (const { client } of cluster.masters) if (client !== undefined) use(client);
  };
  look();
  cluster.on("connect", look);
  cluster.on("node-connect", look);
}

/** It lends a connection once that is ready. */
function eachOfSentinel(sentinel: Sentinel, use: (connection: Connection) => void): void {
  const look = (): void => {
    const seen = sentinel._execute?.(false, async (connection) => use(connection));
    // It could not be lent: there will be another.
    seen?.catch(() => undefined);
  };
  if (sentinel.isReady === true) look();
  sentinel.on("topology-change", ({ type }) => {
    if (type === "MASTER_CHANGE") look();
  });
}
