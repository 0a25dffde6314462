/**
 * What a crash loses: with `commit: "background"` the saves that were under way, counted here, and nothing that a later
 * request has seen; with the default nothing that was answered; after an orderly end nothing at all.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { Browser } from "../support/browser.ts";
import { expectDone } from "../support/in-time.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const users = 10;
const frameworks = ["Express", "Koa", "Fastify"];
let redis: RedisServer;

beforeAll(async () => {
  ensureBuilt();
  redis = await startRedis();
});
afterAll(async () => {
  await redis?.stop();
});

interface Node {
  urls: string[];
  /** Ends it at once, or by its own way. */
  end(how: "SIGKILL" | "politely"): Promise<void>;
}

async function startNode(commit: string, delayMs: number): Promise<Node> {
  const child = spawn(process.execPath, [`${import.meta.dirname}/background-crash-node.mjs`], {
    env: { PATH: process.env.PATH, REDIS_URL: redis.url, COMMIT: commit, DELAY_MS: String(delayMs) },
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [line] = await once(createInterface(child.stdout), "line");
  const ports = JSON.parse(String(line)) as number[]; // printed by background-crash-node.mjs
  return {
    urls: ports.map((port) => `http://127.0.0.1:${port}`),
    async end(how) {
      const ended = once(child, "exit");
      if (how === "SIGKILL") child.kill("SIGKILL");
      else child.stdin.end();
      await ended;
    },
  };
}

/** How many sessions in Redis have a key. */
async function stored(key: string): Promise<number> {
  const names = (await redis.command("KEYS", "*")).split(/\r?\n/).filter((line) => line.startsWith("holdfast:"));
  const records = await Promise.all(names.map((name) => redis.command("GET", name)));
  return records.filter((record) => record.includes(`"${key}"`)).length;
}

/** Users who are signed in, and what they wrote: early, and read again, and late. Each write was answered with a 200. */
async function write(urls: readonly string[]): Promise<number> {
  const browsers = urls.flatMap((url) => Array.from({ length: users }, () => new Browser(url)));
  await Promise.all(browsers.map((browser) => browser.get("/?user=ada")));
  const early = await Promise.all(browsers.map((browser) => browser.get("/?early=1")));
  expect(early.map(({ status }) => status)).toEqual(early.map(() => 200));
  // Whoever sees it may rely on it.
  const seen = await Promise.all(browsers.map((browser) => browser.get("/")));
  expect(seen.map((answer) => answer.json())).toEqual(seen.map(() => ({ user: "ada", early: "1" })));
  const late = await Promise.all(browsers.map((browser) => browser.get("/?late=1")));
  expect(late.map(({ status }) => status)).toEqual(late.map(() => 200));
  return late.length;
}

describe(`a crash (SIGKILL) after answered writes, ${frameworks.join(", ")}`, () => {
  it('commit: "background" loses what was under way, and nothing that a later request has seen', async () => {
    await redis.command("FLUSHALL");
    const node = await startNode("background", 1_000);
    const answered = await write(node.urls);
    await node.end("SIGKILL");
    const lost = answered - (await stored("late"));
    console.info(`background: ${lost} of ${answered} answered writes were lost with the process`);
    // What was answered last is under way when it dies; a slow machine may have stored the first of them.
    expectDone(lost, 0, "writes that were under way");
    expect(await stored("early"), "what was seen").toBe(answered);
  });

  it("the default loses nothing that was answered", async () => {
    await redis.command("FLUSHALL");
    const node = await startNode("before-response", 20);
    const answered = await write(node.urls);
    await node.end("SIGKILL");
    expect([await stored("early"), await stored("late")]).toEqual([answered, answered]);
  });

  it('commit: "background" and an orderly end (close()) lose nothing', async () => {
    await redis.command("FLUSHALL");
    const node = await startNode("background", 300);
    const answered = await write(node.urls);
    await node.end("politely");
    expect([await stored("early"), await stored("late")]).toEqual([answered, answered]);
  });
});
