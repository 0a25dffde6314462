// @ts-check
/**
 * The demo's load balancer: haproxy with the shipped `haproxy-cookie.cfg`, and with `demo.cfg` for what the demo adds.
 * It starts it, hears of each request from haproxy's own log, and asks haproxy what it thinks of the nodes. Called by
 * `demo.mjs`.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { freePort } from "./free-port.mjs";

/**
 * @typedef {{ server: string, status: number, ms: number, method: string, path: string, retries: number }} Seen
 *   `server`: the node that answered, `-` where none did; `retries`: how often another one had to be asked
 * @typedef {{ name: string, status: string, check: string, requests: number, sinceSeconds: number }} NodeStatus
 */

/**
 * @param {import("./processes.mjs").Processes} processes
 * @param {object} options
 * @param {number} options.port where the browser finds everything; `0`: a free one
 * @param {number} options.panelPort of the page
 * @param {Record<string, number>} options.nodes their ports by name: n1, n2, n3
 * @param {(seen: Seen) => void} options.onRequest
 */
export async function startBalancer(processes, { port: wanted, panelPort, nodes, onRequest }) {
  const log = createSocket("udp4");
  log.bind(0, "127.0.0.1");
  await once(log, "listening");
  log.unref();
  log.on("message", (message) => {
    const seen = parseSeen(String(message));
    if (seen !== undefined) onRequest(seen);
  });

  const port = wanted || (await freePort());
  const sitePort = await freePort();
  const socket = join(processes.folder("lb"), "admin.sock");
  const addresses = Object.entries(nodes).map(([name, at]) => [name.toUpperCase(), `127.0.0.1:${at}`]);
  await processes.start("lb", {
    command: "haproxy",
    args: ["-db", "-f", join(import.meta.dirname, "haproxy-cookie.cfg"), "-f", join(import.meta.dirname, "demo.cfg")],
    env: {
      BIND: `127.0.0.1:${sitePort}`,
      PAGE: `127.0.0.1:${port}`,
      PANEL: `127.0.0.1:${panelPort}`,
      LOG: `127.0.0.1:${log.address().port}`,
      ADMIN_SOCKET: socket,
      CHECK_INTERVAL: "400ms",
      ...Object.fromEntries(addresses),
    },
  });
  await processes.ready("lb", async () => (await fetch(`http://127.0.0.1:${port}/panel/health`)).ok);
  return {
    port,
    sitePort,
    /** @returns {Promise<NodeStatus[]>} */
    view: async () => parseStatus(await command(socket, "show stat")),
    close: () => log.close(),
  };
}

/** @param {string} message @returns {Seen | undefined} */
function parseSeen(message) {
  try {
    const seen = JSON.parse(message.slice(message.indexOf("{")));
    // "+1" where the last one was sent to another node.
    return { ...seen, retries: Number(seen.retries) };
  } catch {
    return undefined;
  }
}

/**
 * One command to haproxy's admin socket.
 * @param {string} path
 * @param {string} line
 */
async function command(path, line) {
  const socket = connect(path);
  socket.setTimeout(1_000, () => socket.destroy(new Error("haproxy's socket doesn't answer")));
  await once(socket, "connect");
  socket.write(`${line}\n`);
  return text(socket);
}

/**
 * haproxy's own table, with a line of names first, as the backend of the shipped configuration sees its nodes.
 * @param {string} csv
 * @returns {NodeStatus[]}
 */
function parseStatus(csv) {
  const [head = "", ...lines] = csv.replace(/^# /, "").trim().split("\n");
  const names = head.split(",");
  const rows = lines.map((line) => {
    const cells = line.split(",");
    return Object.fromEntries(names.map((name, at) => [name, cells[at] ?? ""]));
  });
  const requestsOf = (/** @type {string | undefined} */ name) =>
    rows.filter((row) => row.svname === name).reduce((sum, { stot }) => sum + Number(stot), 0);
  return rows
    .filter(({ pxname, svname }) => pxname === "nodes" && svname !== "BACKEND")
    .map(({ svname = "", status = "", check_status: check = "", check_code: code = "", lastchg }) => ({
      name: svname,
      status,
      check: [check.replace("* ", ""), code].filter(Boolean).join(" "),
      requests: requestsOf(svname),
      sinceSeconds: Number(lastchg),
    }));
}
