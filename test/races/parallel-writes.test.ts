import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { type Answer, Browser } from "../support/browser.ts";
import { isFull, tally, times } from "../support/counts.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";

const rounds = times(10, 20);
const writers = 50;
/** Of the URL form: after that a command is given up. */
const commandTimeoutMs = 500;
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
  expect((await first.get("/begin", { method: "POST" })).status).toBe(200);
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
      for (let round = 1; round <= rounds; round++) await keepKeys(await begin(framework, processes), thinkMs);
      tally("T1", `rounds of ${writers} of ${writers} keys`, rounds);
    });

    it(`count each of ${writers} parallel increments once, in each of ${rounds} rounds`, async () => {
      for (let round = 1; round <= rounds; round++)
        await countExactly(await begin(framework, processes), writers, thinkMs);
      tally("T1", `rounds of ${writers} of ${writers} increments`, rounds);
    });
  });

  it("no key that was acknowledged is lost where a process stands still, its commands given up, as the other goes on", async () => {
    for (let round = 1; round <= 3; round++) {
      await keepKeys(await begin(framework), 0, async (calls) => {
        const [still, goesOn] = [calls.slice(0, writers / 2), calls.slice(writers / 2)];
        await Promise.any(still);
        nodes[0]?.child.kill("SIGSTOP");
        try {
          const stoppedAt = performance.now();
          await Promise.all(goesOn);
          await until(() => performance.now() - stoppedAt > 1.2 * commandTimeoutMs, "its commands are given up");
        } finally {
          nodes[0]?.child.kill("SIGCONT");
        }
      });
    }
  });

  it("two processes count exactly under 100 parallel update() calls at each", async () => {
    await countExactly(await begin(framework), 200, 0);
  });
});

/** Each writer's key is there, at every node. `meanwhile`: what happens as they write. */
async function keepKeys(
  browsers: readonly Browser[],
  thinkMs: number,
  meanwhile: (calls: readonly Promise<Answer>[]) => Promise<void> = async () => {},
): Promise<void> {
  const before = await silenceOf(browsers);
  const share = writers / browsers.length;
  const keys = browsers.flatMap((_, node) => Array.from({ length: share }, (_, index) => `n${node}k${index}`));
  const calls = browsers.flatMap((browser, node) =>
    keys
      .slice(node * share, (node + 1) * share)
      .map((key) => browser.get(`/key/${key}?think=${thinkMs}`, { method: "POST" })),
  );
  await meanwhile(calls);
  const refused = await refusals(await Promise.all(calls), browsers, before);
  const stored = await dataOf(browsers);
  // Only a refused write may be missing, and it may be there: nobody can tell, as the refusal says.
  const wanted = keys.filter((key, at) => key in stored || !refused.has(at)).map((key) => [key, key]);
  expect(stored).toEqual({ began: true, ...Object.fromEntries(wanted) });
}

/** So many parallel increments over all browsers: each answer shows another number, and the sum is there at every node. */
async function countExactly(browsers: readonly Browser[], increments: number, thinkMs: number): Promise<void> {
  const before = await silenceOf(browsers);
  const calls = browsers.flatMap((browser) =>
    Array.from({ length: increments / browsers.length }, () =>
      browser.get(`/count?think=${thinkMs}`, { method: "POST" }),
    ),
  );
  const answers = await Promise.all(calls);
  const refused = await refusals(answers, browsers, before);
  const { count, ...rest } = await dataOf(browsers);
  expect(rest).toEqual({ began: true });
  // One that was refused may have been counted: nobody can tell, as the refusal says.
  expect(count).toBeGreaterThanOrEqual(calls.length - refused.size);
  expect(count).toBeLessThanOrEqual(calls.length);
  const counts = answers.filter((_, at) => !refused.has(at)).map((answer) => answer.json<{ count: number }>().count);
  const numbers = new Set(Array.from({ length: Number(count) }, (_, index) => index + 1));
  expect(counts.filter((number) => !numbers.delete(number))).toEqual([]);
  expect(numbers.size, "counted, and nobody was told").toBeLessThanOrEqual(refused.size);
}

/** The session's data, the same at every node. */
async function dataOf(browsers: readonly Browser[]): Promise<Record<string, unknown>> {
  const answers = await Promise.all(browsers.map((browser) => browser.get("/")));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  const [first, ...others] = answers.map((answer) => answer.json());
  for (const other of others) expect(other).toEqual(first);
  return first ?? {};
}

/** Commands that were never answered so far, and the longest wait for an answer, at the nodes of these browsers. */
async function silenceOf(browsers: readonly Browser[]): Promise<{ unanswered: number; longestMs: number }> {
  const answers = await Promise.all(browsers.map(({ url }) => new Browser(url).get("/silence")));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  const all = answers.map((answer) => answer.json<{ unanswered: number; longestMs: number }>());
  return {
    unanswered: all.reduce((sum, { unanswered }) => sum + unanswered, 0),
    longestMs: Math.max(...all.map(({ longestMs }) => longestMs)),
  };
}

/**
 * Which of the answers, by their places, refuse a write. A store that is well refuses none, but where the answer to a
 * write was lost (the client gives up after 500 ms, which a machine that stands still takes) and others have written
 * since. So each refusal needs a command that was never answered, and such a command a silence that was measured.
 */
async function refusals(
  answers: readonly Answer[],
  browsers: readonly Browser[],
  before: { unanswered: number },
): Promise<Set<number>> {
  expect(answers.filter(({ status }) => status !== 200 && status !== 503).map(({ text }) => text)).toEqual([]);
  const refused = new Set([...answers.keys()].filter((at) => answers[at]?.status === 503));
  if (refused.size === 0) return refused;
  const { unanswered, longestMs } = await silenceOf(browsers);
  expect(refused.size, "503s, and answers that were lost").toBeLessThanOrEqual(unanswered - before.unanswered);
  expect(longestMs, "the longest silence of Redis, ms").toBeGreaterThan(commandTimeoutMs / 2);
  tally("T1", "writes refused as a machine stood still", refused.size);
  return refused;
}
