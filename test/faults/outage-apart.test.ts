/**
 * Outages as a client sees them that has nothing to do with the app: load from a process of its own, the app in another,
 * Redis killed (AOF on) and hung. The figures of issue "a Redis that is slow, dead or full of garbage" are asserted on
 * what that client measured. `HOLDFAST_FULL` has the whole lengths, 5 s and 10 s.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { tally, times } from "../support/counts.ts";
import { expectDone, expectTook } from "../support/in-time.ts";
import { noteOutput } from "../support/raw-ids.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const storeTimeoutMs = 1_000;
/** What an answer may take on top. */
const graceMs = 100;
/** From Redis's return to the first good answer. */
const backWithinMs = 1_000;
const calmMs = times(700, 2_000);
const frameworks = ["Express", "Koa", "Fastify"];

/** What `outage-apart/client.mjs` prints. */
interface Seen {
  entries: {
    app: number;
    path: string;
    at: number;
    ms: number;
    status: number;
    user?: string | null;
    id?: string;
    hasCookie: boolean;
  }[];
  /** By app: the keys whose write was answered with a 200. */
  acknowledged: string[][];
  ids: string[];
  /** By app: the session at the end. */
  kept: { id: string; user: string; keys: string[] }[];
  lateMs: number;
}

interface Program {
  child: ChildProcess;
  lines: Interface;
  /** What it wrote to its standard error. */
  complaints: string[];
}

let redis: RedisServer;
let app: Program;
let ports: number[];

beforeAll(async () => {
  ensureBuilt();
  redis = await startRedis({ appendonly: true });
  app = start("app.mjs", []);
  ports = JSON.parse(await lineOf(app)) as number[]; // printed by app.mjs
});
afterAll(async () => {
  app?.child.kill("SIGKILL");
  await redis?.stop();
});

function start(name: string, args: readonly string[]): Program {
  const child = spawn(process.execPath, [`${import.meta.dirname}/outage-apart/${name}`, ...args], {
    env: { PATH: process.env.PATH, REDIS_URL: redis.url, STORE_TIMEOUT_MS: String(storeTimeoutMs) },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const complaints: string[] = [];
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaints.push(text);
    noteOutput(text);
  });
  return { child, lines: createInterface(child.stdout), complaints };
}

async function lineOf({ lines, child, complaints }: Program): Promise<string> {
  const ended = once(child, "exit").then(() => Promise.reject(new Error(complaints.join(""))));
  const [line] = await Promise.race([once(lines, "line"), ended]);
  return String(line);
}

interface Measured {
  seen: Seen;
  beganAt: number;
  backAt: number;
  /** How late the app's event loop ran at worst. */
  appLateMs: number;
}

async function appLateness(): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${ports[0]}/late`);
  return ((await answer.json()) as { lateMs: number }).lateMs; // answered by app.mjs
}

/** One outage under load; `during` makes it, and gives when Redis was back, epoch ms. */
async function measured(during: () => Promise<number>): Promise<Measured> {
  const urls = ports.map((port) => `http://127.0.0.1:${port}`);
  const client = start("client.mjs", urls);
  try {
    expect(await lineOf(client)).toBe("measuring");
    await delay(calmMs);
    await appLateness();
    const beganAt = Date.now();
    const backAt = await during();
    await delay(backWithinMs + calmMs);
    const told = lineOf(client);
    client.child.stdin?.end();
    const seen = JSON.parse(await told) as Seen; // printed by client.mjs
    return { seen, beganAt, backAt, appLateMs: await appLateness() };
  } finally {
    client.child.kill("SIGKILL");
  }
}

/** Every promise of an outage, on what the client saw; the row of figures. */
function expectPromises(what: string, { seen, beganAt, backAt, appLateMs }: Measured): void {
  const { entries, acknowledged, ids, kept, lateMs } = seen;
  const refused = entries.filter(({ status }) => status === 503);
  const slowest = entries.toSorted((a, b) => b.ms - a.ms)[0];
  const firstGood = frameworks.map((_, index) => {
    // Asked and answered after the return: an answer that was on its way before says nothing.
    const good = entries.filter((entry) => entry.app === index && entry.status === 200 && entry.path !== "/public");
    return Math.min(...good.map(({ at }) => at).filter((at) => at >= backAt)) - backAt;
  });
  const figures = `${entries.length} answers, ${refused.length} of them 503; slowest ${Math.round(slowest?.ms ?? 0)} ms (${slowest?.path}, ${frameworks[slowest?.app ?? 0]}; the client's event loop was late by ${Math.round(lateMs)} ms at worst, the app's by ${Math.round(appLateMs)}); first good answer ${firstGood.join(", ")} ms after the return`;
  console.info(`${what}: ${figures}`);
  // There was load, and there was an outage, in each framework.
  for (const index of frameworks.keys()) {
    expectDone(entries.filter((entry) => entry.app === index && entry.status === 200).length, 10, "good answers");
    const during = refused.filter((entry) => entry.app === index && entry.at > beganAt);
    expectDone(during.length, 2, "refused answers");
    expectDone(acknowledged[index]?.length, 2, "acknowledged writes");
  }
  expect(new Set(entries.map(({ status }) => status))).toEqual(new Set([200, 503]));
  expect(entries.filter(({ status, path }) => path === "/public" && status !== 200).length).toBe(0);
  // What the machine kept the two processes waiting for is not ours; where it has time for them, a few milliseconds. The
  // client may be late twice (sending, receiving), the app three times (arrival, timer, answer).
  const machineMs = 2 * lateMs + 3 * appLateMs;
  expectTook(slowest?.ms ?? Number.NaN, storeTimeoutMs + graceMs + machineMs, `the slowest answer: ${figures}`);
  expectTook(Math.max(...firstGood), backWithinMs, `the first good answer: ${figures}`);
  // No false 200: each read showed the user, the cookie was left alone, each acknowledged key is there afterwards.
  const read = entries.filter(({ status, path }) => status === 200 && path !== "/public");
  expect(read.filter(({ app: index, user, id }) => user !== `ada${index}` || id !== ids[index])).toEqual([]);
  expect(entries.filter(({ hasCookie }) => hasCookie)).toEqual([]);
  for (const [index, session] of kept.entries()) {
    expect([session.id, session.user]).toEqual([ids[index], `ada${index}`]);
    expect(session.keys).toEqual(expect.arrayContaining(acknowledged[index] ?? []));
  }
  // The app lives: an unhandled rejection would have ended it. What it warned of is shown.
  if (app.complaints.length > 0) console.info(app.complaints.join(""));
  expect([app.child.exitCode, app.child.signalCode]).toEqual([null, null]);
  tally("T5", "answers measured from outside", entries.length);
}

describe("Express, Koa and Fastify in one process, measured from another", () => {
  it("Redis killed (SIGKILL, AOF on) under load: 503 in time, back within a second, the same session, no false 200", async () => {
    const result = await measured(async () => {
      await redis.kill();
      await delay(times(1_800, 5_000));
      await redis.restart();
      return Date.now();
    });
    expectPromises("SIGKILL", result);
  });

  it("Redis hung (SIGSTOP) under load: 503 in time, back within a second, the same session, no false 200", async () => {
    const result = await measured(async () => {
      redis.pause();
      await delay(times(2_500, 10_000));
      redis.resume();
      return Date.now();
    });
    expectPromises("SIGSTOP", result);
  });
});
