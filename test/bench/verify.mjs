// @ts-check
/**
 * Proves that a server under test does its work before anything is timed: sessions persist, a login changes the id and
 * kills the old one, a request without a cookie gets none. Then counts the Redis commands of each route. Called by
 * `run.mjs`.
 */
import assert from "node:assert/strict";
import { load } from "./load.mjs";
import { countCommands } from "./machine.mjs";

/**
 * The rows of the table, by name.
 *
 * @type {Record<string, { method: string, path: string, cookie: boolean, follow?: boolean, label: string }>}
 */
export const routes = {
  none: { method: "GET", path: "/page", cookie: false, label: "no cookie" },
  untouched: { method: "GET", path: "/page", cookie: true, label: "untouched" },
  read: { method: "GET", path: "/read", cookie: true, label: "read" },
  write: { method: "POST", path: "/write", cookie: true, label: "write" },
  login: { method: "POST", path: "/login", cookie: true, follow: true, label: "login" },
};

/**
 * @param {number} port
 * @param {string} variant
 * @throws {assert.AssertionError} when an answer is not what the table in `servers/server.mjs` says
 */
export async function verify(port, variant) {
  /** @type {(method: string, path: string, cookie?: string) => Promise<{ status: number, body: any, cookie: string }>} */
  const call = async (method, path, cookie) => {
    const headers = cookie === undefined ? undefined : { cookie };
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, ...(headers ? { headers } : {}) });
    const text = await response.text();
    const pairs = response.headers.getSetCookie().map((line) => line.split(";")[0] ?? "");
    return { status: response.status, body: text.startsWith("{") ? JSON.parse(text) : text, cookie: pairs.join("; ") };
  };
  assert.deepEqual(await call("GET", "/page"), { status: 200, body: { page: "home" }, cookie: "" });
  const first = await call("POST", "/login");
  assert.deepEqual([first.status, first.body], [200, { user: "Ada Lovelace" }]);
  if (variant === "bare") return;

  assert.notEqual(first.cookie, "", "a login sets a cookie");
  assert.equal((await call("GET", "/read")).status, 401, "without a cookie nobody is signed in");
  assert.deepEqual((await call("GET", "/read", first.cookie)).body, { user: "Ada Lovelace" });
  assert.deepEqual((await call("POST", "/write", first.cookie)).body, { views: 1 });
  assert.deepEqual((await call("POST", "/write", first.cookie)).body, { views: 2 }, "a write persists");

  const second = await call("POST", "/login", first.cookie);
  assert.notEqual(second.cookie, first.cookie, "a login changes the id");
  assert.equal((await call("GET", "/read", first.cookie)).status, 401, "the old id is dead");
  assert.deepEqual((await call("POST", "/write", second.cookie)).body, { views: 1 }, "the new session is a fresh one");
}

/**
 * Signs in as many users as the pool shall hold.
 *
 * @param {number} port
 * @param {number} size
 * @param {number} connections
 * @returns {Promise<(string | undefined)[]>} a `Cookie` header each; `undefined` where the server sets none (`bare`)
 */
export async function signIn(port, size, connections) {
  /** @type {(string | undefined)[]} */
  const cookies = new Array(size).fill(undefined);
  await load({ port, method: "POST", path: "/login", requests: size, connections, cookies, follow: true });
  return cookies;
}

/**
 * Redis commands per request, commands inside scripts not counted.
 *
 * @param {import("ioredis").Redis} redis
 * @param {Omit<import("./load.mjs").Load, "requests" | "connections">} request
 * @returns {Promise<{ total: number, byName: Record<string, number> }>}
 */
export async function commandsOf(redis, request) {
  const stop = await countCommands(redis);
  // Two connections: nothing waits long enough for a client to time out and send a command again.
  const { requests } = await load({ ...request, requests: 100, connections: 2 });
  const counts = await stop();
  const byName = Object.fromEntries([...counts].map(([name, calls]) => [name, calls / requests]));
  return { total: Object.values(byName).reduce((sum, calls) => sum + calls, 0), byName };
}
