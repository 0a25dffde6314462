// @ts-check
/**
 * The load: a closed loop of keep-alive connections over plain sockets that sends a fixed number of requests, each
 * with a session cookie from a pool, and times every answer in microseconds.
 *
 * It is not a general HTTP client: it takes `200` with a `Content-Length` and nothing else, so that a server that
 * answers errors, or answers short, ends the bench instead of looking fast. Written here as a load generator with
 * whole-millisecond latencies and one header per connection can't follow the new cookie of each login, and as the
 * load must cost less CPU than the fastest server under test. Called by `run.mjs` and `verify.mjs`.
 */
import { connect } from "node:net";

/**
 * @typedef {object} Load
 * @property {number} port
 * @property {string} method
 * @property {string} path
 * @property {number} requests how many in all; rounded up to a multiple of `connections`
 * @property {number} connections each with its own, equal share of the pool: no session is ever used twice at a time
 * @property {(string | undefined)[]} [cookies] the pool: one `Cookie` header each. Without it no cookie is sent
 * @property {boolean} [follow] put the cookie that an answer sets into the pool, in place of the one that was sent
 */

/**
 * Runs the load.
 *
 * @param {Load} options
 * @returns {Promise<{ requests: number, elapsedMs: number, p50Ms: number, p99Ms: number, cookiesSet: number }>}
 * @throws when an answer is not a 200, or a connection breaks
 */
export async function load(options) {
  const { connections, cookies } = options;
  const each = Math.ceil(options.requests / connections);
  const latencies = new Float64Array(each * connections);
  let cookiesSet = 0;
  const clients = await Promise.all(Array.from({ length: connections }, () => open(options.port)));
  const rest = stayAwake();
  const started = performance.now();
  await Promise.all(
    clients.map(async (client, share) => {
      const indexes = cookies === undefined ? [] : shareOf(cookies.length, connections, share);
      for (let turn = 0; turn < each; turn += 1) {
        const index = indexes[turn % indexes.length];
        const cookie = index === undefined ? undefined : cookies?.[index];
        const sent = performance.now();
        const setCookies = await client.request(requestText(options, cookie));
        latencies[share * each + turn] = performance.now() - sent;
        if (setCookies === undefined) continue;
        cookiesSet += 1;
        if (options.follow === true && cookies !== undefined && index !== undefined) cookies[index] = setCookies;
      }
    }),
  );
  const elapsedMs = performance.now() - started;
  rest();
  for (const client of clients) client.close();
  latencies.sort();
  return {
    requests: latencies.length,
    elapsedMs,
    p50Ms: latencies[Math.floor(latencies.length * 0.5)] ?? Number.NaN,
    p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? Number.NaN,
    cookiesSet,
  };
}

/**
 * Keeps this process from sleeping in the kernel: its event loop polls. Who answers a process that sleeps pays for waking
 * it: 20 µs of the server's CPU an answer on a virtual machine here, as much as a bare framework costs. A server that is
 * faster than the load never pays that, nor one whose answers come in batches; one in between pays it with each answer.
 *
 * @returns ends it
 */
function stayAwake() {
  let isOver = false;
  const turn = () => {
    if (!isOver) setImmediate(turn);
  };
  turn();
  return () => {
    isOver = true;
  };
}

/**
 * The places of the pool that belong to one connection.
 *
 * @param {number} size
 * @param {number} shares
 * @param {number} share
 */
function shareOf(size, shares, share) {
  if (size < shares) throw new Error(`a pool of ${size} sessions is too small for ${shares} connections`);
  const indexes = [];
  for (let index = share; index < size; index += shares) indexes.push(index);
  return indexes;
}

/**
 * @param {Load} options
 * @param {string | undefined} cookie
 */
function requestText({ method, path, port }, cookie) {
  const body = method === "GET" ? "" : "Content-Length: 0\r\n";
  const session = cookie === undefined ? "" : `Cookie: ${cookie}\r\n`;
  return `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${body}${session}\r\n`;
}

/**
 * One keep-alive connection.
 *
 * @param {number} port
 */
async function open(port) {
  const socket = connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  socket.setEncoding("latin1");
  await new Promise((resolve, reject) => socket.once("connect", () => resolve(undefined)).once("error", reject));

  /** @type {{ resolve: (setCookies: string | undefined) => void, reject: (error: Error) => void } | undefined} */
  let waiting;
  let text = "";
  /** @param {Error} error */
  const fail = (error) => {
    waiting?.reject(error);
    waiting = undefined;
    socket.destroy();
  };
  socket.on("error", fail);
  socket.on("close", () => fail(new Error("the server closed the connection")));
  socket.on("data", (/** @type {string} */ chunk) => {
    text += chunk;
    const headEnd = text.indexOf("\r\n\r\n");
    if (headEnd < 0) return;
    const head = text.slice(0, headEnd);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (length === undefined || !head.startsWith("HTTP/1.1 200 ")) return fail(new Error(`unusable answer:\n${text}`));
    const end = headEnd + 4 + Number(length);
    if (text.length < end) return;
    if (text.length > end) return fail(new Error(`more than one answer:\n${text}`));
    text = "";
    const done = waiting;
    waiting = undefined;
    done?.resolve(cookieHeaderOf(head));
  });

  return {
    /**
     * @param {string} message
     * @returns {Promise<string | undefined>} the cookies that the answer set, as a `Cookie` header
     */
    request(message) {
      return new Promise((resolve, reject) => {
        waiting = { resolve, reject };
        socket.write(message, "latin1");
      });
    },
    close() {
      socket.removeAllListeners("close");
      socket.destroy();
    },
  };
}

/**
 * @param {string} head a response head
 * @returns {string | undefined}
 */
function cookieHeaderOf(head) {
  const pairs = [];
  for (const match of head.matchAll(/\r\nset-cookie: *([^;\r]*)/gi)) pairs.push(match[1]);
  return pairs.length === 0 ? undefined : pairs.join("; ");
}
