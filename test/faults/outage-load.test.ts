/**
 * Outages under load, in one process that must not die: requests come at a fixed rate whatever becomes of them, to the
 * three frameworks at once, while Redis is killed and hangs. And all of them without an error listener on the user's
 * client; with and without one Express 4, which catches nothing that async handlers throw.
 */
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { expectDone, expectTook } from "../support/in-time.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";
import {
  ask,
  expectAnonymous,
  expectSameSession,
  expectServed,
  expectUnavailable,
  Fleet,
  median,
  recovery,
  slowest,
  type Timed,
} from "./outage-fleet.ts";
import { expressFour, type Seen, three } from "./outage-servers.ts";

/** How long each of the two outages is. 60 s in all with `HOLDFAST_FULL`. */
const outageMs = process.env["HOLDFAST_FULL"] === undefined ? 4_000 : 30_000;
/** A round every so often, on every member. */
const everyMs = 30;

let redis: RedisServer;
let fleet: Fleet;
let load: Load | undefined;
const unhandled: unknown[] = [];
const note = (reason: unknown): void => void unhandled.push(reason);

setFlagsFromString("--expose-gc");
// There is no other way to a collector that the process was not started with.
const collect = runInNewContext("gc") as () => void;

beforeEach(async () => {
  redis = await startRedis({ appendonly: true });
  vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  unhandled.length = 0;
  process.on("unhandledRejection", note);
  process.on("uncaughtExceptionMonitor", note);
});

afterEach(async () => {
  await load?.stop();
  load = undefined;
  await fleet.stop();
  process.off("unhandledRejection", note);
  process.off("uncaughtExceptionMonitor", note);
  await redis.stop();
  expect(unhandled).toEqual([]);
});

/** What the load has seen. */
class Load {
  readonly acknowledged = new Map<string, string[]>();
  timed: Timed[] = [];
  mostInFlight = 0;
  #round = 0;
  #isOver = false;
  readonly #open = new Set<Promise<void>>();
  readonly #running: Promise<void>;

  constructor() {
    this.#running = this.#run();
  }

  /** What was answered since the last call. */
  take(): Timed[] {
    const { timed } = this;
    this.timed = [];
    return timed;
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#running;
    await Promise.all(this.#open);
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      const round = this.#round++;
      for (const member of fleet.members) {
        const key = `k${round}`;
        const path = ["/read", "/public", round % 12 === 2 ? `/set?${key}=1` : "/read"][round % 3] ?? "/read";
        const one = ask(member, path).then((timed) => {
          this.timed.push(timed);
          // Whether a refusal is one too many is told where the outage is judged.
          if (timed.answer.status === 200 && path.startsWith("/set")) {
            const keys = this.acknowledged.get(member.title) ?? [];
            this.acknowledged.set(member.title, [...keys, key]);
          }
        });
        this.#open.add(one);
        void one.finally(() => this.#open.delete(one));
      }
      this.mostInFlight = Math.max(this.mostInFlight, fleet.inFlight);
      await delay(everyMs);
    }
  }
}

interface Memory {
  heapMb: number;
  rssMb: number;
}

function memory(): Memory {
  collect();
  const { heapUsed, rss } = process.memoryUsage();
  return { heapMb: heapUsed / 2 ** 20, rssMb: rss / 2 ** 20 };
}

/**
 * What is known of the second half of an outage: the breakers are open. `calm`: the median before the outage, in ms, which
 * is what this machine takes for a request just now: apps, clients and other tests share its cores.
 */
function expectQuick(answers: readonly Timed[], what: string, calm: number): void {
  const open = answers.filter(({ path }) => path === "/public");
  console.info(
    `${what}: ${answers.length} answers, slowest ${slowest(answers)} ms, public pages ${median(open)} ms, ${calm} ms before`,
  );
  expectTook(median(open), 20 + 4 * calm, "a public page, in the median");
  expect(answers.filter(({ path, answer }) => path !== "/public" && answer.status !== 503)).toEqual([]);
  expectTook(median(answers), 50 + 4 * calm, "an answer with the breaker open, in the median");
}

describe("Express 5, Koa 3 and Fastify 5 under load", () => {
  it("Redis killed and then hung: nothing piles up, memory stays flat, no false 200, the same sessions afterwards", async () => {
    fleet = await Fleet.start(redis.port, { policies: ["fail"] });
    load = new Load();
    await delay(1_500);
    const served = load.take();
    expectServed(served);
    const calm = median(served);
    const before = memory();

    await redis.kill();
    await delay(outageMs / 2);
    const half = memory();
    load.take();
    await delay(outageMs / 2);
    expectQuick(load.take(), "killed", calm);
    await redis.restart();
    await recovery(fleet.members);

    redis.pause();
    await delay(outageMs / 2);
    load.take();
    await delay(outageMs / 2);
    expectQuick(load.take(), "hung", calm);
    const after = memory();
    redis.resume();
    const back = await recovery(fleet.members, 1_000);
    await load.stop();

    await until(() => fleet.inFlight === 0, "the last request to end");
    // Each member has `storeTimeout` of rounds at most on its way, and no more.
    const most = fleet.members.length * (1_100 / everyMs);
    const growth = { heap: after.heapMb - half.heapMb, rss: after.rssMb - before.rssMb };
    console.info(
      `at most ${load.mostInFlight} in flight; heap ${growth.heap.toFixed(1)} MB more from one outage to the other, RSS ${growth.rss.toFixed(1)} MB; back ${Math.round(Math.max(...back.map(({ ms }) => ms)))} ms after`,
    );
    expectDone(2 * most + 1, load.mostInFlight, `more than ${load.mostInFlight} in flight`);
    expect(growth.heap).toBeLessThan(15);
    expect(growth.rss).toBeLessThan(80);
    const answers = await fleet.all("/read");
    expectSameSession(answers);
    for (const { member, answer } of answers) {
      const keys = load.acknowledged.get(member.title) ?? [];
      expectDone(keys.length, 3, "acknowledged writes");
      expect(Object.keys(answer.json<Seen>().data)).toEqual(expect.arrayContaining(keys));
    }
  });
});

describe("the process lives on", () => {
  it.each([
    ["with", "Express 4", [expressFour]],
    ["without", "each framework, Express 4 too", [expressFour, ...three]],
  ])(
    "through a killed Redis, %s an error listener on the user's client, under async handlers of %s",
    async (listener, _, frameworks) => {
      const hasErrorListener = listener === "with";
      // ioredis says there what nobody listens to.
      const console = vi.spyOn(globalThis.console, "error").mockImplementation(() => {});
      fleet = await Fleet.start(redis.port, { frameworks, hasErrorListener });
      const cookies = fleet.members.map(({ browser }) => browser.cookieHeader);
      // Killed with requests under way: loads that worked, saves that do not.
      const under = Array.from({ length: 3 }, () =>
        Promise.all([fleet.all("/set?during=yes"), fleet.all("/unwaited")]),
      );
      await redis.kill();
      const answered = (await Promise.all(under)).flat(2);
      expect(answered.filter(({ answer: { status } }) => status !== 200 && status !== 503)).toEqual([]);
      const failing = fleet.with("fail");
      // Express 4 does not catch what an async handler throws: it is told of a failed load before the handler.
      const fours = failing.filter(({ title }) => title.startsWith(expressFour.name));
      const others = failing.filter((member) => !fours.includes(member));
      for (const path of ["/read", "/set?lost=1", "/unwaited", "/public"]) {
        const isTouching = path !== "/public";
        expectUnavailable(await fleet.all(path, isTouching ? failing : fours));
        if (!isTouching) expectServed(await fleet.all(path, others));
        expectServed(await fleet.all(path, fleet.with("anonymous")));
      }
      expectAnonymous(await fleet.all("/read", fleet.with("anonymous")));
      expectServed(await fleet.all("/skipped"));
      expect(fleet.members.map(({ browser }) => browser.cookieHeader)).toEqual(cookies);
      await redis.restart();
      await recovery(fleet.members);
      if (hasErrorListener) expect(console).not.toHaveBeenCalled();
    },
  );
});
