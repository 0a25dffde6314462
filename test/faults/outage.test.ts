/**
 * Outages: a Redis that is killed, hangs, is cut off, loads, wants a password, is far away. In all three frameworks at
 * once, with either policy, on the URL form and on a client of the user's with ioredis's defaults.
 *
 * `HOLDFAST_FULL=1` runs the whole lengths (5 s dead, 10 s hung); without it they are cut to what shows the same.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Browser } from "../support/browser.ts";
import { expectTook, lateMs } from "../support/in-time.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";
import { startProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import {
  ask,
  expectAnonymous,
  expectSameSession,
  expectServed,
  expectUnavailable,
  Fleet,
  type Member,
  median,
  recovery,
  slowest,
  type Timed,
} from "./outage-fleet.ts";

const isFull = process.env["HOLDFAST_FULL"] !== undefined;

let redis: RedisServer;
let fleet: Fleet;
const unhandled: unknown[] = [];
const note = (reason: unknown): void => void unhandled.push(reason);
const ends: (() => unknown)[] = [];

beforeEach(async () => {
  redis = await startRedis({ appendonly: true });
  // One warning per client that lacks settings, which is what these tests are about.
  vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  unhandled.length = 0;
  process.on("unhandledRejection", note);
  process.on("uncaughtExceptionMonitor", note);
});

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  process.off("unhandledRejection", note);
  process.off("uncaughtExceptionMonitor", note);
  await redis.stop();
  expect(unhandled).toEqual([]);
});

async function startFleet(...args: Parameters<typeof Fleet.start>): Promise<Fleet> {
  fleet = await Fleet.start(...args);
  ends.push(() => fleet.stop());
  return fleet;
}

/** What must hold while the store gives no answer; the figures of the row. */
async function expectOutage(): Promise<string> {
  const failing = fleet.with("fail");
  const anonymous = fleet.with("anonymous");
  const cookies = fleet.members.map(({ browser }) => browser.cookieHeader);
  // Six at once on each engine: the breaker opens.
  const burst = ["/read", "/set?lost=1", "/read", "/set?lost=2", "/unwaited", "/read"];
  const free = unaffected();
  free.catch(() => {}); // awaited below, unless something else fails before
  const first = await Promise.all(burst.map((path) => fleet.all(path)));
  expectUnavailable(first.flat().filter(({ member }) => failing.includes(member)));
  expectAnonymous([first[0], first[2], first[5]].flatMap((answers) => pick(answers, anonymous)));
  expectServed([first[1], first[3], first[4]].flatMap((answers) => pick(answers, anonymous)));
  expectServed(await free);
  expect(fleet.members.map(({ browser }) => browser.cookieHeader)).toEqual(cookies);

  // With the breaker open nobody waits: a page without the session does not notice, cookie or not.
  const open: Timed[] = [];
  for (let round = 0; round < 3; round++) {
    for (const member of fleet.members) open.push(await ask(member, "/public"));
  }
  expectServed(open);
  expectTook(median(open), 20, "a public page, in the median");
  const refused = await fleet.all("/read");
  expectUnavailable(pick(refused, failing));
  expectAnonymous(pick(refused, anonymous));
  expectTook(slowest(refused), 300, "an answer with the breaker open");
  return `slowest ${slowest(first.flat())} ms (this process late by ${lateMs()} ms), then a public page with cookie ${median(open).toFixed(1)} ms`;
}

function pick(answers: readonly Timed[] | undefined, members: readonly Member[]): Timed[] {
  return (answers ?? []).filter(({ member }) => members.includes(member));
}

/** Routes under `skip`, and requests without a cookie, as the outage begins. */
async function unaffected(): Promise<Timed[]> {
  const skipped = await fleet.all("/skipped");
  const strangers: Timed[] = [];
  for (const member of fleet.members) {
    for (const path of ["/public", "/read"]) {
      strangers.push(await ask(member, path, new Browser(member.server.url)));
    }
  }
  expectTook(median([...skipped, ...strangers]), 100, "what needs no store, in the median");
  return [...skipped, ...strangers];
}

/** What must hold once the store is back. `patienceMs`: what a client with ioredis's own back-off may take. */
async function expectReturn(what: string, figures: string, patienceMs = 1_000): Promise<void> {
  const back = await recovery(fleet.members);
  const last = (form: Member["form"]): number =>
    Math.round(Math.max(...back.filter(({ member }) => member.form === form).map(({ ms }) => ms)));
  console.info(`${what}: ${figures}; back after ${last("URL")} ms (URL), ${last("own client")} ms (ioredis defaults)`);
  expectTook(last("URL"), 1_000, "the return with a URL");
  expectTook(last("own client"), patienceMs, "the return with a client of the user's");
  expectServed(await fleet.all("/set?after=yes"));
  const answers = await fleet.all("/read");
  expectSameSession(answers);
  for (const { answer } of answers) expect(answer.json()).toMatchObject({ data: { after: "yes" } });
  expect(fleet.inFlight).toBe(0);
}

describe("Express 5, Koa 3 and Fastify 5, on a URL and on a client of the user's", () => {
  it("a Redis that was killed (SIGKILL) and came back: 503 or anonymous in time, the same session afterwards", async () => {
    await startFleet(redis.port);
    await redis.kill();
    const since = performance.now();
    const figures = await expectOutage();
    if (isFull) await delay(5_000 - (performance.now() - since));
    await redis.restart();
    await expectReturn("SIGKILL", figures, 6_000);
  });

  it("a Redis that hangs (SIGSTOP) and goes on: 503 or anonymous in time, the same session afterwards", async () => {
    await startFleet(redis.port);
    const since = performance.now();
    redis.pause();
    try {
      const figures = await expectOutage();
      await delay(Math.max(0, (isFull ? 10_000 : 3_000) - (performance.now() - since)));
      redis.resume();
      await expectReturn("SIGSTOP", figures);
    } finally {
      redis.resume();
    }
  });

  it("connections that are reset: the requests on their way are answered from a new connection", async () => {
    const proxy = await throughProxy();
    const under = Array.from({ length: 5 }, async (_, round) => {
      await delay(round * 10);
      return fleet.all(round % 2 === 0 ? "/read" : `/set?during${round}=yes`);
    });
    await delay(15);
    proxy.cut();
    const answers = (await Promise.all(under)).flat();
    expect(answers.map(({ answer }) => answer.status)).toEqual(answers.map(() => 200));
    expectTook(slowest(answers), 1_400, "an answer through a reset");
    const kept = { data: { during1: "yes", during3: "yes" } };
    for (const { answer } of await fleet.all("/read")) expect(answer.json()).toMatchObject(kept);
    await expectReturn("reset", `slowest ${slowest(answers)} ms`);
  });

  it("connections that are reset and refused from then on: 503 or anonymous in time, the same session afterwards", async () => {
    const proxy = await throughProxy();
    proxy.isShut = true;
    proxy.cut();
    const figures = await expectOutage();
    proxy.isShut = false;
    await expectReturn("reset and refused", figures, 6_000);
  });

  it("a proxy that adds 2 s to every answer: 503 or anonymous in time, the same session afterwards", async () => {
    const proxy = await throughProxy();
    proxy.delayMs = 2_000;
    const figures = await expectOutage();
    proxy.delayMs = 0;
    // The last answers that were kept back still have to arrive, before the others on their connection.
    await until(() => proxy.held === 0, "the proxy to let go of the answers");
    await expectReturn("2 s more", figures);
  });

  it("a Redis that wants a password all at once (NOAUTH): 503 or anonymous in time, the same session afterwards", async () => {
    await startFleet(redis.port);
    const admin = new Redis(redis.port);
    ends.push(() => admin.disconnect());
    await admin.config("SET", "requirepass", "secret");
    await admin.call("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES");
    const figures = await expectOutage();
    await admin.config("SET", "requirepass", "");
    await expectReturn("NOAUTH", figures, 6_000);
  });

  it("a Redis that is loading its data (LOADING): 503 or anonymous in time, the same session afterwards", async () => {
    await startFleet(redis.port);
    // A few seconds of loading: every key waits, and Redis answers (LOADING) in between.
    for (let key = 0; key < 30; key++) await redis.command("SET", `ballast:${key}`, "x".repeat(2_000));
    await redis.kill();
    const loading = redis.restart(["--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024"]);
    const figures = await expectOutage();
    await loading;
    await expectReturn("LOADING", figures, 6_000);
  });
});

async function throughProxy(): Promise<TcpProxy> {
  const proxy = await startProxy(redis.port);
  ends.push(() => proxy.stop());
  await startFleet(proxy.port);
  return proxy;
}
