// @ts-check
/**
 * The server of the demo's page: the page itself, what happens as server-sent events, and the buttons. It listens on
 * the loopback behind the load balancer, and takes orders from the page alone. Called by `demo.mjs`.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

/**
 * @typedef {"kill" | "hang" | "drain" | "revive"} Action
 * @typedef {(action: Action, name: string) => void} Obey throws an error whose message the page may show
 */

const files = /** @type {Record<string, { type: string, body: string }>} */ (
  Object.fromEntries(
    [
      ["/", "index.html", "text/html"],
      ["/panel/page.css", "page.css", "text/css"],
      ["/panel/page.js", "page.js", "text/javascript"],
    ].map(([path, file, type]) => [
      path,
      { type: `${type}; charset=utf-8`, body: readFileSync(new URL(`page/${file}`, import.meta.url), "utf8") },
    ]),
  )
);

const headers = {
  "content-security-policy":
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
};

/** Names that no other site's page can have in its address: DNS that points elsewhere later won't get in. */
const ownHost = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

/** How often a stream without news says that it is there. */
const pingMs = 10_000;

/** How many requests a page that opens is told of. */
const remembered = 12;

/** @param {{ obey: Obey }} options */
export async function startPanel({ obey }) {
  /** @type {Set<import("node:http").ServerResponse>} */
  const streams = new Set();
  /** The last view, and the last requests, for who comes later. */
  let view = "";
  /** @type {string[]} */
  let requests = [];
  const frame = (/** @type {string} */ event, /** @type {object} */ data) =>
    `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
  const tell = (/** @type {string} */ text) => {
    for (const stream of streams) stream.write(text);
  };

  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://panel");
    const say = (/** @type {number} */ status, /** @type {string} */ text) =>
      response.writeHead(status, { ...headers, "content-type": "text/plain" }).end(text);
    const file = files[pathname];
    if (pathname === "/panel/health") return say(200, "ok");
    if (!ownHost.test(request.headers.host ?? "")) return say(421, "Ask for localhost.");
    if (file !== undefined && request.method === "GET") {
      return response.writeHead(200, { ...headers, "content-type": file.type }).end(file.body);
    }
    if (pathname === "/panel/events") {
      response.writeHead(200, { ...headers, "content-type": "text/event-stream" });
      response.write(view + requests.join(""));
      streams.add(response);
      return response.once("close", () => streams.delete(response));
    }
    const action = /^\/panel\/(kill|hang|drain|revive)$/.exec(pathname)?.[1];
    if (action === undefined) return say(404, "There is nothing here.");
    // A header that no other origin may send without asking first, which is refused.
    if (request.method !== "POST" || request.headers["x-demo"] === undefined)
      return say(403, "Use the page's buttons.");
    try {
      obey(/** @type {Action} */ (action), searchParams.get("name") ?? "");
      return say(202, "It is being done.");
    } catch (error) {
      return say(409, error instanceof Error ? error.message : String(error));
    }
  });
  const pings = setInterval(() => tell(": still here\n\n"), pingMs);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" ? (address?.port ?? 0) : 0,
    /** @param {import("./watch.mjs").View} next */
    show(next) {
      view = frame("view", next);
      tell(view);
    },
    /** @param {import("./balancer.mjs").Seen} seen */
    showRequest(seen) {
      const text = frame("request", { ...seen, at: Date.now() });
      requests = [...requests.slice(1 - remembered), text];
      tell(text);
    },
    stop() {
      clearInterval(pings);
      server.close();
      server.closeAllConnections();
    },
  };
}
