/** Two processes with near caches, over real HTTP: what a request costs in Redis, and how soon an end is seen. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { expectTook } from "../support/in-time.ts";
import { type Monitor, type RedisServer, startRedis, until } from "../support/redis-server.ts";

const program = fileURLToPath(new URL("near-cache-node.mjs", import.meta.url));
const frameworks = ["Express", "Koa", "Fastify"] as const;
const rounds = 20;

interface Node {
  child: ChildProcess;
  /** One for each framework. */
  urls: string[];
}

let redis: RedisServer;
let nodes: Node[] = [];

beforeAll(async () => {
  ensureBuilt();
  redis = await startRedis();
  nodes = await Promise.all([startNode(), startNode()]);
});
afterAll(async () => {
  for (const { child } of nodes) {
    const ended = once(child, "exit");
    child.stdin?.end();
    expect(await ended).toEqual([0, null]);
  }
  await redis.stop();
});

async function startNode(): Promise<Node> {
  const child = spawn(process.execPath, [program], {
    env: { PATH: process.env.PATH, REDIS_URL: redis.url },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [line] = await Promise.race([
    once(createInterface(child.stdout), "line"),
    once(child, "exit").then(([code]) => Promise.reject(new Error(`a node ended with ${code}`))),
  ]);
  const ports = JSON.parse(String(line)) as number[]; // printed by near-cache-node.mjs
  return { child, urls: ports.map((port) => `http://127.0.0.1:${port}`) };
}

interface Answer {
  id?: string;
  user?: string | null;
  near?: boolean;
  count?: number;
}

/** A user with one cookie. */
class Visitor {
  cookie = "";

  async ask(url: string | undefined, line: string): Promise<Answer> {
    const [method = "", path = ""] = line.split(" ");
    const response = await fetch(`${url}${path}`, { method, headers: { cookie: this.cookie } });
    for (const set of response.headers.getSetCookie()) this.cookie = set.split(";", 1)[0] ?? "";
    expect(response.status, line).toBe(200);
    return (await response.json()) as Answer;
  }

  /** Asks until the node answers from its own memory. */
  async settle(url: string | undefined, id: string | undefined): Promise<void> {
    await until(async () => {
      await this.ask(url, "GET /");
      return (await this.ask(url, `GET /near/${id}`)).near === true;
    }, "the node to keep the session");
  }
}

/** What clients sent Redis during `step`, other than what looks after connections. */
async function commandsOf(monitor: Monitor, step: () => Promise<unknown>): Promise<string[]> {
  await monitor.flush();
  const start = monitor.lines.length;
  await step();
  await monitor.flush();
  return monitor.lines
    .slice(start)
    .filter((line) => !/^\S+ \[\d+ lua\]/.test(line))
    .map((line) => /"([^"]*)"/.exec(line)?.[1]?.toLowerCase() ?? line)
    .filter((name) => !["ping", "info", "time", "client", "hello", "subscribe"].includes(name));
}

describe("a request to a node with a near cache", () => {
  it.each(frameworks)("costs Redis no command to read and one to change (%s)", async (framework) => {
    const url = nodes[0]?.urls[frameworks.indexOf(framework)];
    const visitor = new Visitor();
    const { id } = await visitor.ask(url, "POST /login");
    const monitor = await redis.monitor();
    // A machine that was busy for a while makes the cache begin anew; then so does this.
    let counted: unknown;
    for (let attempt = 0; attempt < 5; attempt++) {
      await visitor.settle(url, id);
      counted = {
        reads: await commandsOf(monitor, async () => {
          for (let turn = 0; turn < 10; turn++) expect((await visitor.ask(url, "GET /")).user).toBe("ada");
        }),
        changes: await commandsOf(monitor, async () => {
          for (let turn = 0; turn < 3; turn++) await visitor.ask(url, "POST /count");
        }),
        readsAfter: await commandsOf(monitor, () => visitor.ask(url, "GET /")),
      };
      if (JSON.stringify(counted).includes('"get"')) continue;
      break;
    }
    await monitor.stop();
    expect(counted).toEqual({ reads: [], changes: ["evalsha", "evalsha", "evalsha"], readsAfter: [] });
    expect((await visitor.ask(url, "GET /")).count).toBeGreaterThanOrEqual(3);
  });
});

describe("the end of a session on one node", () => {
  it.each(["logout", "revocation"])("is seen by the other within 50 ms, in the median of 20 (%s)", async (end) => {
    expectTook(await medianUntilSeen(end), 50, "an end on the other node, in the median");
  });
});

/** How long after its acknowledgement the other node sees an end, in ms. */
async function medianUntilSeen(end: string): Promise<number> {
  const tookMs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const here = nodes[0]?.urls[round % 3];
    const there = nodes[1]?.urls[(round + 1) % 3];
    const visitor = new Visitor();
    const { id } = await visitor.ask(here, "POST /login");
    await visitor.settle(there, id);
    const { cookie } = visitor;
    await visitor.ask(here, end === "logout" ? "POST /logout" : `POST /revoke/${id}`);
    const endedAt = performance.now();
    await until(async () => {
      visitor.cookie = cookie;
      return (await visitor.ask(there, "GET /")).user === null;
    }, "the other node to see it");
    tookMs.push(performance.now() - endedAt);
  }
  tookMs.sort((one, two) => one - two);
  const [median = 0, worst = 0] = [tookMs[rounds / 2], tookMs.at(-1)];
  console.log(`a ${end} is seen on the other node after ${median.toFixed(1)} ms (median), ${worst.toFixed(1)} at most`);
  return median;
}
