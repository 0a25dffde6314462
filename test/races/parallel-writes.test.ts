import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { Browser } from "../support/browser.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const rounds = 10;
const perNode = 25;
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
}, 60_000);
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
async function begin(framework: number): Promise<Browser[]> {
  const browsers = nodes.map(({ urls }) => new Browser(urls[framework] ?? ""));
  const [first, ...others] = browsers;
  if (first === undefined) throw new Error("no node");
  await first.get("/begin", { method: "POST" });
  for (const other of others) for (const [name, value] of first.cookies) other.cookies.set(name, value);
  return browsers;
}

describe.each(frameworks.map((name, index) => [name, index] as const))("two processes with %s", (_, framework) => {
  it(`keep each of ${2 * perNode} keys that parallel requests write, in each of ${rounds} rounds`, async () => {
    for (let round = 1; round <= rounds; round++) {
      const browsers = await begin(framework);
      const wanted: Record<string, unknown> = { began: true };
      const calls = browsers.flatMap((browser, node) =>
        Array.from({ length: perNode }, (_, index) => {
          const key = `n${node}k${index}`;
          wanted[key] = key;
          return browser.get(`/key/${key}`, { method: "POST" });
        }),
      );
      expect((await Promise.all(calls)).filter(({ status }) => status !== 200).map(({ text }) => text)).toEqual([]);
      for (const browser of browsers) expect((await browser.get("/")).json(), `round ${round}`).toEqual(wanted);
    }
  }, 60_000);

  it(`count each of ${2 * perNode} parallel increments once, in each of ${rounds} rounds`, async () => {
    for (let round = 1; round <= rounds; round++) await countExactly(framework, perNode);
  }, 60_000);

  it("count exactly under 100 parallel update() calls at each", async () => {
    await countExactly(framework, 100);
  }, 60_000);
});

/** So many parallel increments at each node: each answer shows another number, and the sum is there at both. */
async function countExactly(framework: number, callsPerNode: number): Promise<void> {
  const browsers = await begin(framework);
  const calls = browsers.flatMap((browser) =>
    Array.from({ length: callsPerNode }, () => browser.get("/count", { method: "POST" })),
  );
  const answers = await Promise.all(calls);
  expect(answers.filter(({ status }) => status !== 200).map(({ text }) => text)).toEqual([]);
  const counts = answers.map((answer) => answer.json<{ count: number }>().count).sort((a, b) => a - b);
  expect(counts).toEqual(Array.from({ length: calls.length }, (_, index) => index + 1));
  for (const browser of browsers) expect((await browser.get("/")).json()).toEqual({ began: true, count: calls.length });
}
