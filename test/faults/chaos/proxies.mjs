// @ts-check
/**
 * A process of its own that stands before every Redis of the chaos run, so that one can be cut off: a cut server is
 * silent to everybody, as behind a network that lost it, and nobody is told. Forked by `network.mjs`, which sends the
 * orders. It reads no protocol.
 */
import { once } from "node:events";
import { connect, createServer } from "node:net";

/**
 * @typedef {{ id: number, open: { owner: string, source: string, target: number } }} Open
 * @typedef {{ id: number, cut: string }} Cut by its source address
 * @typedef {{ id: number, heal: string, isReset: boolean }} Heal `isReset`: its old connections end; else what was
 *   sent before arrives now
 *
 * @typedef {object} Pair the two ends of one connection
 * @property {import("node:net").Socket} client
 * @property {import("node:net").Socket} [upstream]
 * @property {number} target
 * @property {string[]} parties the source addresses of the servers at its ends
 */

/** @type {Set<Pair>} */
const pairs = new Set();
/** @type {Set<string>} */
const cutOff = new Set();

const isCut = (/** @type {Pair} */ { parties }) => parties.some((party) => cutOff.has(party));

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
}

/** @param {Open["open"]} what */
async function open({ source, target }) {
  const server = createServer({ pauseOnConnect: true }, (client) => {
    /** @type {Pair} */
    const pair = { client, target, parties: [source, client.remoteAddress ?? ""] };
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
  const held = [...pairs].filter(isCut);
  cutOff.delete(party);
  for (const pair of held) {
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

process.on("message", async (/** @type {Open | Cut | Heal} */ order) => {
  let port;
  if ("open" in order) port = await open(order.open);
  else if ("cut" in order) cut(order.cut);
  else heal(order.heal, order.isReset);
  process.send?.({ id: order.id, port });
});
process.once("disconnect", () => process.exit(0));
