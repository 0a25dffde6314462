// @ts-check
/**
 * A process of its own that stands before every Redis of the chaos run, so that one can be cut off (a cut server is
 * silent to everybody, as behind a network that lost it, and nobody is told), or what it sends its replicas held. Forked
 * by `network.mjs`, which sends the orders. It reads no protocol.
 */
import { once } from "node:events";
import { connect, createServer } from "node:net";

/**
 * @typedef {{ id: number, open: { owner: string, source: string, target: number } }} Open
 * @typedef {{ id: number, cut: string }} Cut by its source address
 * @typedef {{ id: number, heal: string, isReset: boolean }} Heal `isReset`: its old connections end; else what was
 *   sent before arrives now
 * @typedef {{ id: number, hold: number }} Hold by its port
 * @typedef {{ id: number, drop: number }} Drop by its port
 *
 * @typedef {object} Pair the two ends of one connection
 * @property {import("node:net").Socket} client
 * @property {import("node:net").Socket} [upstream]
 * @property {number} target
 * @property {string[]} parties the source addresses of the servers at its ends
 * @property {boolean} isBetweenServers
 */

/** @type {Set<Pair>} */
const pairs = new Set();
/** @type {Set<string>} */
const cutOff = new Set();
/** Ports from which nothing gets to other servers. @type {Set<number>} */
const held = new Set();
/** Addresses that servers send from. @type {Set<string>} */
const sources = new Set();

const isCut = (/** @type {Pair} */ { parties }) => parties.some((party) => cutOff.has(party));
const isHeld = (/** @type {Pair} */ { target, isBetweenServers }) => isBetweenServers && held.has(target);

/** @param {Pair} pair */
function end(pair) {
  pairs.delete(pair);
  pair.client.destroy();
  pair.upstream?.destroy();
}

/** @param {Pair} pair */
function bridge(pair) {
  const { client, target } = pair;
  // Outgoing connections of a server come from its own address; the servers at their other end are told nothing.
  const upstream = connect(target, "127.0.0.1");
  pair.upstream = upstream;
  for (const [from, to] of /** @type {const} */ ([
    [client, upstream],
    [upstream, client],
  ])) {
    from.setNoDelay(true);
    from.on("data", (chunk) => to.write(chunk));
    from.on("error", () => {});
    from.on("close", () => end(pair));
  }
  if (isHeld(pair)) upstream.pause();
}

/** @param {Open["open"]} what */
async function open({ source, target }) {
  sources.add(source);
  const server = createServer({ pauseOnConnect: true }, (client) => {
    const from = client.remoteAddress ?? "";
    /** @type {Pair} */
    const pair = { client, target, parties: [source, from], isBetweenServers: sources.has(from) };
    pairs.add(pair);
    client.on("error", () => {});
    if (isCut(pair)) return;
    bridge(pair);
    client.resume();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return typeof address === "object" ? address?.port : undefined;
}

/** @param {string} party */
function cut(party) {
  cutOff.add(party);
  for (const pair of pairs) {
    if (!isCut(pair)) continue;
    pair.client.pause();
    pair.upstream?.pause();
  }
}

/**
 * @param {string} party
 * @param {boolean} isReset
 */
function heal(party, isReset) {
  const silent = [...pairs].filter(isCut);
  cutOff.delete(party);
  for (const pair of silent) {
    if (isCut(pair)) continue;
    if (isReset) {
      pair.client.resetAndDestroy();
      end(pair);
      continue;
    }
    if (pair.upstream === undefined) bridge(pair);
    pair.client.resume();
    pair.upstream?.resume();
  }
}

/** What a server sends its replicas arrives no more; what they send it does. @param {number} target */
function hold(target) {
  held.add(target);
  for (const pair of pairs) if (isHeld(pair)) pair.upstream?.pause();
}

/** Ends the connections that `hold` held, and what they held never arrives. @param {number} target */
function drop(target) {
  for (const pair of pairs) if (isHeld(pair)) end(pair);
  held.delete(target);
}

process.on("message", async (/** @type {Open | Cut | Heal | Hold | Drop} */ order) => {
  let port;
  if ("open" in order) port = await open(order.open);
  else if ("cut" in order) cut(order.cut);
  else if ("heal" in order) heal(order.heal, order.isReset);
  else if ("hold" in order) hold(order.hold);
  else drop(order.drop);
  process.send?.({ id: order.id, port });
});
process.once("disconnect", () => process.exit(0));
