/**
 * A deploy: three nodes behind HAProxy are restarted one after the other by SIGTERM while browsers go on. Every request is
 * counted and must be answered, every write that was answered must be there, and nobody may be logged out.
 */
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { Browser } from "../support/browser.ts";
import { type HAProxy, startHAProxy } from "../support/haproxy.ts";
import { expectDone } from "../support/in-time.ts";
import { type NodeAnswer, type Nodes, startNodes } from "./nodes.ts";

/** What the load came to. */
interface Tally {
  requests: number;
  /** One line each: what was asked, and what came back. */
  failures: string[];
  lost: string[];
  loggedOut: string[];
  /** Node and process id of each that answered. */
  answeredBy: Set<string>;
}

/** One user: logs in, then counts, sets keys and reads until told to stop; each answer is checked against its own books. */
class User {
  readonly #name: string;
  readonly #browser: Browser;
  readonly #tally: Tally;
  #count = 0;
  #keys: Record<string, string> = {};

  constructor(name: string, url: string, tally: Tally) {
    this.#name = name;
    this.#browser = new Browser(url);
    this.#tally = tally;
  }

  async logIn(): Promise<void> {
    await this.#ask("POST", `/login?user=${this.#name}`);
  }

  async act(turn: number): Promise<void> {
    if (turn % 3 === 0) await this.#ask("POST", "/count", () => this.#count++);
    else if (turn % 3 === 1) {
      const [key, value] = [`k${turn % 4}`, `v${turn}`];
      await this.#ask("POST", `/set?key=${key}&value=${value}`, () => {
        this.#keys[key] = value;
      });
    } else await this.#ask("GET", "/");
  }

  async #ask(method: string, path: string, onDone: () => void = () => {}): Promise<void> {
    this.#tally.requests++;
    const what = `${this.#name}: ${method} ${path}`;
    try {
      const answer = await this.#browser.get(path, { method });
      if (answer.status !== 200) {
        this.#tally.failures.push(`${what}: ${answer.status} ${answer.text}`);
        return;
      }
      onDone();
      this.#check(what, answer.json<NodeAnswer>());
    } catch (error) {
      this.#tally.failures.push(`${what}: ${String(error)} ${String((error as Error).cause ?? "")}`); // fetch's own
    }
  }

  #check(what: string, { node, pid, data }: NodeAnswer): void {
    this.#tally.answeredBy.add(`${node} ${pid}`);
    if (data.user !== this.#name) this.#tally.loggedOut.push(`${what}: ${JSON.stringify(data)} from ${node}`);
    const { user: _user, count = 0, ...keys } = data;
    const isAllThere = count === this.#count && JSON.stringify(keys) === JSON.stringify(this.#keys);
    if (!isAllThere) this.#tally.lost.push(`${what}: ${JSON.stringify(data)} from ${node}, not count ${this.#count}`);
  }
}

let nodes: Nodes;
let balancer: HAProxy;

describe("a rolling restart of three nodes under load", () => {
  beforeAll(() => ensureBuilt());
  afterEach(async () => {
    await balancer?.program.stop();
    await nodes?.stop();
  });

  it.each([{ config: "haproxy-route.cfg", routes: true }])(
    "fails no request, loses no write and logs nobody out behind $config",
    async ({ config, routes }) => {
      nodes = await startNodes({ routes, notice: "1s" });
      balancer = await startHAProxy({ config, ports: nodes.ports });
      const tally: Tally = { requests: 0, failures: [], lost: [], loggedOut: [], answeredBy: new Set() };
      const over = new AbortController();

      const users = Array.from({ length: 8 }, (_, index) => new User(`user${index}`, balancer.url, tally));
      await Promise.all(users.map((user) => user.logIn()));
      const regulars = users.map(async (user) => {
        for (let turn = 0; !over.signal.aborted; turn++) {
          await user.act(turn);
          await pause(3);
        }
      });
      const newcomers = (async () => {
        for (let arrival = 0; !over.signal.aborted; arrival++) {
          const user = new User(`newcomer${arrival}`, balancer.url, tally);
          await user.logIn();
          for (let turn = 0; turn < 3; turn++) await user.act(turn);
          await pause(10);
        }
      })();

      const before = new Set(nodes.all.map(({ name, program }) => `${name} ${program.pid}`));
      for (const node of nodes.all) {
        const old = node.program;
        expect(await old.terminate(), old.output).toBe(0);
        expect(old.output).toMatch(/has ended\s*$/);
        expect(old.output).not.toMatch(/HOLDFAST|storeError|ERR_/);
        await node.start();
        await balancer.sees(node.name, /^UP$/);
      }
      const requestsAtTheEnd = tally.requests;
      const after = nodes.all.map(({ name, program }) => `${name} ${program.pid}`);
      const haveAllAnswered = () => after.every((node) => tally.answeredBy.has(node));
      for (let wait = 0; wait < 6000 && !haveAllAnswered(); wait++) await pause(10);
      over.abort();
      await Promise.all([...regulars, newcomers]);

      expect(tally.failures).toEqual([]);
      expect(tally.lost).toEqual([]);
      expect(tally.loggedOut).toEqual([]);
      expectDone(requestsAtTheEnd, 100, "the load");
      // All six processes took part, the old ones and the new ones.
      expect([...tally.answeredBy].toSorted()).toEqual([...before, ...after].toSorted());
      console.log(
        `rolling restart behind ${config}: ${tally.requests} requests, 0 failed, 0 writes lost, 0 logged out`,
      );
    },
  );
});
