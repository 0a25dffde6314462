// @ts-check
/**
 * The checker's clients: browsers, each with a few requests at a time on one cookie, that log in, set, count, rotate,
 * read and log out on any of the apps. Each operation goes to `record` once its outcome is known. They judge nothing.
 * Called by `run.mjs`.
 */
import { Agent, request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { seeded } from "../../support/seeded.mjs";
import { oneOf } from "./faults.mjs";

/**
 * @typedef {object} Entry One operation; one line of the history.
 * @property {string} kind login, set, update, rotate, logout, read, or probe: a read with a cookie that is dead
 * @property {string} life the login that it belongs to
 * @property {number} gen which of the life's ids it was sent with
 * @property {string} app the node that answered, or where it was sent
 * @property {number} browser which of the browsers sent it
 * @property {number} from ms since the start, when it was sent
 * @property {number} to ms since the start, when its outcome was known
 * @property {"ok" | "fail" | "unknown"} outcome fail: certainly not done
 * @property {number} status HTTP status; 0: no answer
 * @property {string} [code] of the error that a node answered
 * @property {string | null} [seen] the life that the session belonged to, by the answer
 * @property {string} [key] of a set
 * @property {boolean} [explicit] of a set: the app awaited `save()` and looked at its outcome
 * @property {number} [count] the counter that was read
 * @property {Record<string, unknown>} [keys] the keys that were read
 * @property {string} [id] the cookie's secret that it brought
 * @property {string} [problem] of a status that nothing explains
 *
 * @typedef {{ life: string, gen: number, cookie: string, index: number }} Dead
 * @typedef {{ life: string | null, cookie: string | undefined, gen: number, index: number, sets: number, isMoving: boolean, dead: Dead[] }} Browser
 * @typedef {{ framework: string, port: number }} Target
 * @typedef {{ kind: string, life: string, gen: number, cookie: string | undefined, index?: number }} Operation
 */

const patienceMs = 5_000;

/** What says that a node, or its store, is out of reach; 0: no answer. */
const outOfReach = [0, 503];

/**
 * @param {Agent} agent
 * @param {Target} target
 * @param {Record<string, string>} query
 * @param {string | undefined} cookie
 * @returns {Promise<{ status: number, body: Record<string, unknown>, cookie?: string | undefined, node?: string | undefined }>}
 */
function send(agent, target, query, cookie) {
  return new Promise((resolve) => {
    const nothing = () => resolve({ status: 0, body: {} });
    const path = `/?${new URLSearchParams(query)}`;
    const headers = cookie === undefined ? {} : { cookie: `sid=${cookie}` };
    // A load balancer may repeat a GET.
    const method = query.op === "read" ? "GET" : "POST";
    const outgoing = request(
      { agent, method, port: target.port, host: "127.0.0.1", path, headers, timeout: patienceMs },
      (answer) => {
        let text = "";
        answer.setEncoding("utf8");
        answer.on("data", (chunk) => {
          text += chunk;
        });
        answer.on("error", nothing);
        answer.on("end", () => {
          const line = answer.headers["set-cookie"]?.find((each) => each.startsWith("sid="));
          const body = text.startsWith("{") ? JSON.parse(text) : {};
          const node = answer.headers["x-node"]?.toString();
          resolve({ status: answer.statusCode ?? 0, body, cookie: line?.slice(4).split(";")[0] || undefined, node });
        });
      },
    );
    outgoing.on("timeout", () => outgoing.destroy());
    outgoing.on("error", nothing);
    outgoing.end();
  });
}

export class Clients {
  #agent = new Agent({ keepAlive: true });
  #startedAt = performance.now();
  #lives = 0;
  #keys = 0;
  /** @type {Browser[]} */
  browsers = [];

  /**
   * @param {object} options
   * @param {Target[]} options.targets
   * @param {(entry: Entry) => void} options.record
   * @param {number} options.seed
   * @param {boolean} [options.rotates]
   * @param {number[]} [options.expected] statuses that say that a node, or its store, is out of reach; 0: no answer
   */
  constructor({ targets, record, seed, rotates = true, expected = outOfReach }) {
    this.targets = targets;
    this.rotates = rotates;
    this.expected = expected;
    this.record = record;
    this.seed = seed;
  }

  /** Ms since the start. */
  now() {
    return performance.now() - this.#startedAt;
  }

  /**
   * Drives the apps until the signal.
   * @param {{ browsers: number, requests: number, thinkMs: number, signal: AbortSignal }} options
   */
  async run({ browsers, requests, thinkMs, signal }) {
    this.browsers = Array.from({ length: browsers }, (_, index) => newBrowser(index));
    const workers = this.browsers.flatMap((browser, at) =>
      Array.from({ length: requests }, async (_, index) => {
        const random = seeded(this.seed * 7919 + at * 101 + index);
        while (!signal.aborted) {
          await this.#step(browser, random);
          if (thinkMs > 0) await pause(random() * thinkMs);
        }
      }),
    );
    await Promise.all(workers);
  }

  /** Reads what every living session holds, at every app. */
  async readAll() {
    for (const browser of this.browsers) {
      if (browser.life === null) continue;
      for (const target of this.targets) await this.#do(browser, "read", target);
    }
  }

  close() {
    this.#agent.destroy();
  }

  /**
   * @param {Browser} browser
   * @param {() => number} random
   */
  async #step(browser, random) {
    const target = oneOf(random, this.targets);
    const roll = random();
    const old = browser.dead.at(-1 - Math.floor(random() * 3));
    if (browser.life === null || (browser.isMoving && roll < 0.2)) {
      if (browser.life === null && !browser.isMoving) return this.#login(browser, target);
      if (old === undefined) return pause(5);
      return this.#probe(old, target);
    }
    const wait = random() < 0.3 ? String(Math.floor(random() * 60)) : "0";
    if (roll < 0.36) return this.#do(browser, "read", target);
    if (roll < 0.66) return this.#do(browser, "set", target, { wait, mode: random() < 0.5 ? "explicit" : "implicit" });
    if (roll < 0.82) return this.#do(browser, "update", target, { wait });
    if (roll < 0.9 && old !== undefined) return this.#probe(old, target);
    if (browser.isMoving) return this.#do(browser, "read", target);
    if (this.rotates && roll < 0.96 && browser.sets < 40) return this.#move(browser, "rotate", target);
    if (roll > 0.98 || browser.sets >= 40) return this.#move(browser, "logout", target);
  }

  /**
   * @param {Browser} browser
   * @param {Target} target
   */
  async #login(browser, target) {
    browser.isMoving = true;
    const life = `L${++this.#lives}`;
    const { entry, cookie } = await this.#exchange({ ...browser, kind: "login", life, gen: 0 }, target);
    if (entry.outcome === "ok" && cookie !== undefined) Object.assign(browser, { life, cookie, gen: 0, sets: 0 });
    browser.isMoving = false;
  }

  /**
   * Rotates or logs out; alone of its kind in this browser, beside its other requests.
   * @param {Browser} browser
   * @param {"rotate" | "logout"} kind
   * @param {Target} target
   */
  async #move(browser, kind, target) {
    const { life, gen, cookie, index } = browser;
    if (life === null || cookie === undefined) return;
    browser.isMoving = true;
    const result = await this.#exchange({ kind, life, gen, cookie, index }, target);
    if (result.entry.outcome === "ok") {
      browser.dead = [...browser.dead.slice(-5), { life, gen, cookie, index }];
      if (kind === "logout") browser.life = null;
      else if (result.cookie !== undefined) Object.assign(browser, { cookie: result.cookie, gen: gen + 1 });
    } else if (result.entry.status === 401) browser.life = null;
    browser.isMoving = false;
  }

  /**
   * @param {Dead} old
   * @param {Target} target
   */
  async #probe(old, target) {
    await this.#exchange({ kind: "probe", ...old }, target, { op: "read" });
  }

  /**
   * @param {Browser} browser
   * @param {"read" | "set" | "update"} kind
   * @param {Target} target
   * @param {Record<string, string>} [query]
   */
  async #do(browser, kind, target, query = {}) {
    const { life, gen, cookie, index } = browser;
    if (life === null || cookie === undefined) return;
    if (kind === "set") {
      const key = `k${++this.#keys}`;
      Object.assign(query, { key, value: `${life}:${key}` });
      browser.sets += 1;
    }
    const { entry } = await this.#exchange({ kind, life, gen, cookie, index }, target, query);
    // Its session is not there any more, and nobody in this browser moved it: an unknown rotation or logout was done.
    const isGone = entry.outcome !== "unknown" && entry.seen !== life;
    if (isGone && browser.life === life && browser.gen === gen && !browser.isMoving) browser.life = null;
  }

  /**
   * @param {Operation} what
   * @param {Target} target
   * @param {Record<string, string>} [query]
   */
  #exchange(what, target, query = {}) {
    const place = { agent: this.#agent, now: () => this.now(), record: this.record, expected: this.expected };
    return exchange(place, what, target, query);
  }
}

/**
 * One operation: sends it, records its outcome, and resolves to both it and the cookie that came back.
 * @param {{ agent: Agent, now: () => number, record: (entry: Entry) => void, expected?: number[] }} place
 * @param {Operation} what
 * @param {Target} target
 * @param {Record<string, string>} [query]
 */
export async function exchange(place, { kind, life, gen, cookie, index = 0 }, target, query = {}) {
  const { agent, now, record, expected = outOfReach } = place;
  const from = now();
  const answer = await send(agent, target, { op: kind, life, ...query }, cookie);
  const { status, body } = answer;
  /** @type {Entry} */
  const entry = {
    kind,
    life,
    gen,
    app: answer.node ?? target.framework,
    browser: index,
    from,
    to: now(),
    outcome: status === 200 ? "ok" : status === 401 ? "fail" : "unknown",
    status,
  };
  if (entry.outcome !== "unknown") entry.seen = typeof body.life === "string" ? body.life : null;
  if (typeof body.code === "string") entry.code = body.code;
  if (kind === "set") Object.assign(entry, { key: query.key, explicit: query.mode === "explicit" });
  if (status === 200 && typeof body.count === "number") Object.assign(entry, { count: body.count, keys: body.keys });
  if (answer.cookie !== undefined) entry.id = answer.cookie.split(".")[0] ?? "";
  if (status !== 200 && status !== 401 && !expected.includes(status)) {
    entry.problem = `${status} ${body.code ?? ""} ${body.message ?? ""}`;
  }
  record(entry);
  return { entry, cookie: answer.cookie };
}

/**
 * @param {number} index
 * @returns {Browser}
 */
function newBrowser(index) {
  return { life: null, cookie: undefined, gen: 0, index, sets: 0, isMoving: false, dead: [] };
}
