/**
 * A fleet for outages: every framework, with either policy, on a client of the store's own and on one of the user's with
 * ioredis's defaults, each with its own engine, connection, session and browser. And what a row asks of all of them.
 */
import { Redis } from "ioredis";
import { expect } from "vitest";
import { createSessions, type SessionOptions } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { type Answer, Browser } from "../support/browser.ts";
import { beginTiming, expectTook, failLate } from "../support/in-time.ts";
import { type Framework, type OutageServer, type Seen, three } from "./outage-servers.ts";

/** What a request may wait for the store in these tests; the default of the package. */
export const storeTimeoutMs = 1_000;
/** What an answer may take on top of `storeTimeout`, where the machine has time for us. The real maximum is printed. */
const graceMs = 100;

/** How the store was given its Redis. */
export type Form = "URL" | "own client";
/** `onStoreError`. */
export type Policy = "fail" | "anonymous";

/** One app of the fleet. */
export interface Member {
  /** `Koa 3, URL, fail` */
  readonly title: string;
  readonly form: Form;
  readonly policy: Policy;
  readonly server: OutageServer;
  readonly browser: Browser;
  /** The public id of its session, and its store key. */
  id: string;
  /** The user who is signed in. */
  readonly user: string;
  /** Events of the engine: why cookies were refused. */
  readonly rejections: string[];
}

/** One answer, and the wait for it. */
export interface Timed {
  readonly member: Member;
  readonly path: string;
  readonly answer: Answer;
  readonly ms: number;
}

/** What `startFleet` takes; what is left out means all. */
export interface FleetPlan {
  frameworks?: readonly Framework[];
  forms?: readonly Form[];
  policies?: readonly Policy[];
  session?: Partial<SessionOptions>;
  /** Before the host in the URL: `"app:password@"`. */
  login?: string;
  /** Whether the user's client has an `error` listener. @default true */
  hasErrorListener?: boolean;
}

/** Running apps. */
export class Fleet {
  readonly members: Member[] = [];
  readonly #ends: (() => unknown)[] = [];

  /** Starts the apps on the Redis behind `port` and signs a user in on each. */
  static async start(port: number, plan: FleetPlan = {}): Promise<Fleet> {
    const fleet = new Fleet();
    for (const framework of plan.frameworks ?? three) {
      for (const form of plan.forms ?? (["URL", "own client"] as const)) {
        for (const policy of plan.policies ?? (["fail", "anonymous"] as const)) {
          await fleet.#add(port, plan, { framework, form, policy });
        }
      }
    }
    await Promise.all(fleet.members.map((member) => signIn(member)));
    beginTiming();
    return fleet;
  }

  /** The members with a policy. */
  with(policy: Policy): Member[] {
    return this.members.filter((member) => member.policy === policy);
  }

  /** Requests `path` on every member at once. */
  all(path: string, members: readonly Member[] = this.members): Promise<Timed[]> {
    return Promise.all(members.map((member) => ask(member, path)));
  }

  /** Requests in flight, over all members. */
  get inFlight(): number {
    return this.members.reduce((sum, { server }) => sum + server.inFlight, 0);
  }

  async stop(): Promise<void> {
    for (const end of this.#ends.splice(0)) await end();
  }

  async #add(
    port: number,
    plan: FleetPlan,
    { framework, form, policy }: { framework: Framework; form: Form; policy: Policy },
  ): Promise<void> {
    const url = `redis://${plan.login ?? ""}127.0.0.1:${port}`;
    const client = form === "URL" ? url : new Redis(url);
    if (client instanceof Redis && plan.hasErrorListener !== false) client.on("error", () => {});
    const sessions = createSessions({
      secret: "the outage tests' signing key, 32 or more characters",
      store: redisStore(client),
      storeTimeout: storeTimeoutMs,
      onStoreError: policy,
      skip: ({ url }) => url === "/skipped",
      ...plan.session,
    });
    const rejections: string[] = [];
    sessions.on("rejected", ({ reason }) => rejections.push(reason));
    const server = await framework.start(sessions);
    this.#ends.push(
      () => server.close(),
      () => sessions.close(),
      () => (client instanceof Redis ? client.disconnect() : undefined),
    );
    const title = `${framework.name}, ${form}, ${policy}`;
    const browser = new Browser(server.url);
    this.members.push({ title, form, policy, server, browser, id: "", user: `ada of ${title}`, rejections });
  }
}

async function signIn(member: Member): Promise<void> {
  expect((await member.browser.get(`/set?user=${encodeURIComponent(member.user)}`)).status).toBe(200);
  member.id = (await member.browser.get("/read")).json<Seen>().id;
}

/** One timed request. */
export async function ask(member: Member, path: string, browser: Browser = member.browser): Promise<Timed> {
  const start = performance.now();
  const answer = await browser.get(path);
  return { member, path, answer, ms: performance.now() - start };
}

/** Every answer is a 503 with `Retry-After` that leaves the cookie alone, in time. */
export function expectUnavailable(answers: readonly Timed[]): void {
  const shown = answers.map(({ member: { title }, answer: { status, headers, setCookies } }) => ({
    ...{ title, status, setCookies },
    retryAfter: Number(headers.get("retry-after")),
  }));
  expect(shown).toEqual(shown.map(({ title }) => ({ title, status: 503, setCookies: [], retryAfter: 1 })));
  expectInTime(answers);
}

/** Every answer is a page without the session, sets and clears no cookie, and came in time. */
export function expectAnonymous(answers: readonly Timed[]): void {
  const shown = answers.map(({ member: { title }, answer }) => {
    const { user, isDegraded } = answer.status === 200 ? answer.json<Partial<Seen>>() : {};
    return { title, status: answer.status, setCookies: answer.setCookies, user, isDegraded };
  });
  expect(shown).toEqual(
    shown.map(({ title }) => ({ title, status: 200, setCookies: [], user: undefined, isDegraded: true })),
  );
  expectInTime(answers);
}

/** Every answer is a 200 that sets no cookie. */
export function expectServed(answers: readonly Timed[]): void {
  const shown = answers.map(({ member, answer }) => [member.title, answer.status, answer.setCookies]);
  expect(shown).toEqual(answers.map(({ member }) => [member.title, 200, []]));
}

/** Every answer shows the session of before the outage. */
export function expectSameSession(answers: readonly Timed[]): void {
  expectServed(answers);
  const shown = answers.map(({ answer }) => answer.json<Seen>()).map(({ id, user }) => ({ id, user }));
  expect(shown).toEqual(answers.map(({ member: { id, user } }) => ({ id, user })));
}

function expectInTime(answers: readonly Timed[]): void {
  const { ms, member, path } = answers.toSorted((a, b) => b.ms - a.ms)[0] ?? { ms: 0 };
  expectTook(ms, storeTimeoutMs + graceMs, `${Math.round(ms)} ms for ${path} on ${member?.title}`);
}

/** The longest wait, whole ms. */
export function slowest(answers: readonly Timed[]): number {
  return Math.round(Math.max(...answers.map(({ ms }) => ms)));
}

/** The middle wait, ms. */
export function median(answers: readonly Timed[]): number {
  const sorted = answers.map(({ ms }) => ms).toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** Asks each member until it answers from its session again; how long that took from now, in ms, per member. */
export function recovery(members: readonly Member[], withinMs = 8_000): Promise<{ member: Member; ms: number }[]> {
  const start = performance.now();
  return Promise.all(
    members.map(async (member) => {
      for (;;) {
        const timed = await ask(member, "/read");
        const ms = performance.now() - start;
        const isBack = timed.answer.status === 200 && !timed.answer.json<Seen>().isDegraded;
        if (isBack) {
          expectSameSession([timed]);
          return { member, ms };
        }
        if (ms > withinMs) failLate(`${member.title} is not back after ${withinMs} ms`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }),
  );
}
