import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { Browser } from "../support/browser.ts";
import { isFull, tally, times } from "../support/counts.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const rounds = times(10, 20);
const writers = 50;
const program = fileURLToPath(new URL("parallel-writes-node.mjs", import.meta.url));
const frameworks = ["Express", "Koa", "Fastify"] as const;

/** A process that serves the three frameworks, in their order. */
interface Node {
  child: ChildProcess;
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
  await redis?.stop();
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
  const ports = JSON.parse(String(line)) as number[]; // printed by parallel-writes-node.mjs
  return { child, urls: ports.map((port) => `http://127.0.0.1:${port}`) };
}

/** A browser with a session, at each node in turn. */
async function begin(framework: number, count = nodes.length): Promise<Browser[]> {
  const browsers = nodes.slice(0, count).map(({ urls }) => new Browser(urls[framework] ?? ""));
  const [first, ...others] = browsers;
  if (first === undefined) throw new Error("no node");
  await first.get("/begin", { method: "POST" });
  for (const other of others) for (const [name, value] of first.cookies) other.cookies.set(name, value);
  return browsers;
}

interface Plan {
  processes: number;
  thinkMs: number;
}

/** How many processes share the writers, and what a handler takes before it writes. */
const plans: readonly Plan[] = isFull
  ? [1, 2].flatMap((processes) => [0, 20].map((thinkMs) => ({ processes, thinkMs })))
  : [{ processes: 2, thinkMs: 0 }];

describe.each(frameworks.map((name, index) => [name, index] as const))("with %s", (_, framework) => {
  describe.each(plans)("$processes processes, handlers of $thinkMs ms", ({ processes, thinkMs }) => {
    it(`keep each of ${writers} keys that parallel requests write, in each of ${rounds} rounds`, async () => {
      for (let round = 1; round <= rounds; round++) {
        const browsers = await begin(framework, processes);
        const wanted: Record<string, unknown> = { began: true };
        const calls = browsers.flatMap((browser, node) =>
          Array.from({ length: writers / processes }, (_, index) => {
            const key = `n${node}k${index}`;
            wanted[key] = key;
            return browser.get(`/key/${key}?think=${thinkMs}`, { method: "POST" });
          }),
        );
        expect((await Promise.all(calls)).filter(({ status }) => status !== 200).map(({ text }) => text)).toEqual([]);
        for (const browser of browsers) expect((await browser.get("/")).json(), `round ${round}`).toEqual(wanted);
      }
      tally("T1", `rounds of ${writers} of ${writers} keys`, rounds);
    });

    it(`count each of ${writers} parallel increments once, in each of ${rounds} rounds`, async () => {
      for (let round = 1; round <= rounds; round++)
        await countExactly(await begin(framework, processes), writers, thinkMs);
      tally("T1", `rounds of ${writers} of ${writers} increments`, rounds);
    });
  });

  it("two processes count exactly under 100 parallel update() calls at each", async () => {
    await countExactly(await begin(framework), 200, 0);
  });
});

/** So many parallel increments over all browsers: each answer shows another number, and the sum is there at every node. */
async function countExactly(browsers: readonly Browser[], increments: number, thinkMs: number): Promise<void> {
  const calls = browsers.flatMap((browser) =>
    Array.from({ length: increments / browsers.length }, () =>
      browser.get(`/count?think=${thinkMs}`, { method: "POST" }),
    ),
  );
  const answers = await Promise.all(calls);
  expect(answers.filter(({ status }) => status !== 200).map(({ text }) => text)).toEqual([]);
  const counts = answers.map((answer) => answer.json<{ count: number }>().count).sort((a, b) => a - b);
  expect(counts).toEqual(Array.from({ length: calls.length }, (_, index) => index + 1));
  for (const browser of browsers) expect((await browser.get("/")).json()).toEqual({ began: true, count: calls.length });
}
