// @ts-check
/**
 * The Redis nodes of a fleet: processes that replicate, each behind a gate of its own where tests cut it off. Who is
 * master is not known here. Called by `redis-sentinels.mjs` and `redis-cluster.mjs`.
 */
import { connect, createServer } from "node:net";
import { freePort } from "../../examples/cluster/free-port.mjs";
import { listenOn, RedisProcess } from "./redis-processes.mjs";

/**
 * What both kinds of fleet offer. Any node can be killed, hung, cut off and revived; who is master now, and whether all
 * is well again, is asked of Redis itself.
 *
 * ```js
 * const fleet = await startSentinels();   // or startCluster()
 * const [master] = await fleet.masters();
 * await master.kill();
 * await fleet.failedOver(master);         // another node has its place
 * await master.start();
 * await fleet.settled();                  // everybody is up and in step
 * await fleet.stop();
 * ```
 *
 * @typedef {object} Fleet
 * @property {"sentinel" | "cluster"} kind
 * @property {string} url for `redisStore`
 * @property {readonly Node[]} nodes
 * @property {readonly RedisProcess[]} sentinels none in a Cluster
 * @property {() => Promise<Node[]>} masters by what the reachable ones say; one with Sentinel, none while they disagree
 * @property {(old: Node, withinMs?: number) => Promise<void>} failedOver resolves when another node has its place
 * @property {(withinMs?: number) => Promise<void>} settled resolves when every node that runs is in its place, in step
 * @property {() => Promise<void>} stop
 */

/**
 * The only way to one server's port, and a switch on it. Cut off, it keeps its connections and passes no byte, as a
 * lost network does; who connects then is taken and not answered.
 */
export class Gate {
  /** @type {Set<{ from: string, sockets: import("node:net").Socket[] }>} */
  #ways = new Set();
  #server = createServer((client) => this.#take(client));
  port = 0;

  /**
   * @param {number} target
   * @param {(source: string) => boolean} isCut whether bytes from that address (of the loopback) get through
   */
  constructor(target, isCut) {
    this.target = target;
    this.isCut = isCut;
  }

  async open() {
    this.port = await listenOn(this.#server);
    return this;
  }

  /** Stops or starts the flow on every connection by what `isCut` says now. */
  update() {
    for (const { from, sockets } of this.#ways) {
      for (const socket of sockets) this.isCut(from) ? socket.pause() : socket.resume();
    }
  }

  close() {
    this.#server.close();
    for (const { sockets } of this.#ways) for (const socket of sockets) socket.destroy();
  }

  /** @param {import("node:net").Socket} client */
  #take(client) {
    const from = client.remoteAddress ?? "";
    const upstream = connect(this.target, "127.0.0.1");
    const way = { from, sockets: [client, upstream] };
    this.#ways.add(way);
    /** @param {import("node:net").Socket} near @param {import("node:net").Socket} far */
    const join = (near, far) => {
      near.setNoDelay(true);
      near.on("data", (chunk) => far.write(chunk));
      near.on("error", () => {});
      // What was read before the end still arrives: a killed master's last writes at its replicas.
      near.on("end", () => far.end());
      near.on("close", () => {
        this.#ways.delete(way);
        far.end();
        setTimeout(() => far.destroy(), 50).unref();
      });
      if (this.isCut(from)) near.pause();
    };
    join(client, upstream);
    join(upstream, client);
  }
}

/** A Redis of a fleet. */
export class Node extends RedisProcess {
  /** @type {Gate[]} */
  gates = [];
  isCutOff = false;
  /** @type {() => void} */
  onCut = () => {};

  /**
   * @param {number} port of the process
   * @param {{ publicPort: number, address: string, config: readonly string[] }} place `publicPort`: where the others
   *   and the clients find it; `address`: from which it connects to the others
   */
  constructor(port, { publicPort, address, config }) {
    super(port, config);
    this.publicPort = publicPort;
    this.address = address;
  }

  /** From now on no byte gets from or to it; its connections stay. Only where the fleet was started `isolable`. */
  cutOff() {
    if (this.gates.length === 0) throw new Error("start the fleet with isolable: true");
    this.isCutOff = true;
    this.onCut();
  }

  /** Ends `cutOff()`: what was on the way arrives. */
  heal() {
    this.isCutOff = false;
    this.onCut();
  }

  /** @override */
  async stop() {
    for (const gate of this.gates) gate.close();
    await super.stop();
  }
}

/** The replication part of a node's INFO. @param {RedisProcess} node */
export async function replicationOf(node) {
  return String(await node.command("INFO", "replication"));
}

/** @param {readonly RedisProcess[]} processes */
export async function stopAll(processes) {
  await Promise.all(processes.map((each) => each.stop()));
}

/**
 * Nodes that are not started yet; behind gates where they can be cut off.
 * @param {number} count
 * @param {{ isolable: boolean, isCluster: boolean, config: readonly string[] }} options
 */
export async function makeNodes(count, { isolable, isCluster, config }) {
  /** @type {Node[]} */
  const nodes = [];
  for (let index = 0; index < count; index += 1) {
    const ports = isCluster ? [await freePort(), await freePort()] : [await freePort()];
    const isCut = (/** @type {string} */ source) =>
      nodes.some((node, at) => node.isCutOff && (at === index || node.address === source));
    const gates = isolable ? await Promise.all(ports.map((port) => new Gate(port, isCut).open())) : [];
    const [publicPort = 0, publicBus = 0] = isolable ? gates.map(({ port }) => port) : ports;
    const [port = 0, busPort = 0] = ports;
    // By its address the gates of the others know who connects.
    const address = isolable ? `127.0.0.${index + 2}` : "127.0.0.1";
    const lines = [
      'save ""',
      "appendonly yes",
      "appendfsync everysec",
      "repl-diskless-sync-delay 0",
      ...(isolable ? [`bind-source-addr ${address}`] : []),
      ...(isCluster
        ? [
            "cluster-enabled yes",
            `cluster-port ${busPort}`,
            "cluster-announce-ip 127.0.0.1",
            `cluster-announce-port ${publicPort}`,
            `cluster-announce-bus-port ${publicBus}`,
          ]
        : ["replica-announce-ip 127.0.0.1", `replica-announce-port ${publicPort}`]),
      ...config,
    ];
    const node = new Node(port, { publicPort, address, config: lines });
    node.gates = gates;
    node.onCut = () => {
      for (const each of nodes) for (const gate of each.gates) gate.update();
    };
    nodes.push(node);
  }
  return nodes;
}
