import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Answer } from "../support/browser.ts";
import { type Monitor, type RedisServer, startRedis } from "../support/redis-server.ts";
import { type Demo, type Framework, startDemo, Visitor } from "./demo.ts";

let redis: RedisServer;
/** Three nodes, each with a Redis connection of its own: Express answers on the first, Koa on the second, … */
let nodes: Demo[];
let urls: Demo["urls"];
let monitor: Monitor;

beforeAll(async () => {
  redis = await startRedis();
  nodes = await Promise.all([startDemo(redis.url), startDemo(redis.url), startDemo(redis.url)]);
  const [first, second, third] = nodes;
  if (first === undefined || second === undefined || third === undefined) throw new Error("three nodes");
  urls = { express: first.urls.express, koa: second.urls.koa, fastify: third.urls.fastify };
  // What a connection does once, and the first use of each script, is no part of what is counted below.
  const warmUp = new Visitor(urls);
  for (const framework of ["express", "koa", "fastify"] as const) {
    await warmUp.call(framework, "POST /api/views");
    await warmUp.call(framework, "POST /api/login", { user: "warm-up" });
    await warmUp.call(framework, "POST /api/logout");
  }
  await redis.command("FLUSHALL");
  monitor = await redis.monitor();
});
afterAll(async () => {
  await monitor?.stop();
  await Promise.all((nodes ?? []).map((node) => node.close()));
  await redis?.stop();
});

/** One key, as Redis has it. */
interface Key {
  name: string;
  ttlMs: number;
  value: string;
}

/** The names in what `KEYS` answers in RESP. */
function namesIn(reply: string): string[] {
  return reply.split("\r\n").filter((_, index) => index > 0 && index % 2 === 0);
}

async function keys(): Promise<Key[]> {
  const names = namesIn(await redis.command("KEYS", "*"));
  return Promise.all(
    names.map(async (name) => ({
      name,
      ttlMs: Number((await redis.command("PTTL", name)).slice(1)),
      value: await redis.command("GET", name),
    })),
  );
}

/** The commands that one step made Redis run, in capital letters; what runs inside a script doesn't count. */
async function commandsOf(step: () => Promise<Answer>): Promise<{ answer: Answer; commands: string[] }> {
  await monitor.flush();
  const start = monitor.lines.length;
  const answer = await step();
  await monitor.flush();
  const commands = monitor.lines
    .slice(start)
    .filter((line) => !/^\S+ \[\d+ lua\]/.test(line))
    .map((line) => /"([^"]*)"/.exec(line)?.[1]?.toUpperCase() ?? line);
  return { answer, commands };
}

describe("one session across Express, Koa and Fastify, in Redis", () => {
  it("costs no command without a cookie, one for a read, two for a change; one key, never without a TTL, the secret nowhere", async () => {
    const visitor = new Visitor(urls);
    const secrets = new Set<string>();
    const seenKeys: Key[] = [];
    const step = async (
      framework: Framework,
      line: string,
      body?: unknown,
    ): Promise<{ answer: Answer; commands: string[] }> => {
      const done = await commandsOf(() => visitor.call(framework, line, body));
      expect(done.answer.status, `${framework} ${line}`).toBe(200);
      for (const value of visitor.cookies.values()) secrets.add(value);
      const now = await keys();
      for (const { name, ttlMs } of now)
        expect(ttlMs, `the TTL of ${name} after ${framework} ${line}`).toBeGreaterThan(0);
      seenKeys.push(...now);
      return done;
    };

    // Without a cookie.
    for (const framework of ["express", "koa", "fastify"] as const) {
      expect((await step(framework, "GET /api/session")).commands).toEqual([]);
      expect((await step(framework, "GET /")).commands).toEqual([]);
    }
    expect(await keys()).toEqual([]);

    // Log in on Express: one cookie, one key.
    const login = await step("express", "POST /api/login", { user: "ada" });
    const { id } = login.answer.json<{ id: string }>();
    expect(login.commands.length).toBeLessThanOrEqual(3);
    expect(login.answer.setCookies).toHaveLength(1);
    expect(visitor.cookies.size).toBe(1);
    expect((await keys()).map(({ name }) => name)).toEqual([expect.stringContaining(id)]);

    // Read on Koa: one command, no cookie again.
    const read = await step("koa", "GET /api/session");
    expect(read.answer.json()).toMatchObject({ framework: "koa", id, user: "ada", isNew: false });
    expect(read.commands).toEqual(["GET"]);
    expect(read.answer.setCookies).toEqual([]);

    // Change on Fastify: two commands.
    const change = await step("fastify", "POST /api/cart", { item: "kelp" });
    expect(change.answer.json()).toMatchObject({ framework: "fastify", id, user: "ada", cart: ["kelp"] });
    expect(change.commands).toHaveLength(2);
    expect(change.commands[0]).toBe("GET");
    expect(change.commands[1]).toMatch(/^EVALSHA$/);
    const plain = await step("fastify", "DELETE /api/cart");
    expect(plain.commands).toEqual(change.commands);
    expect(change.answer.setCookies).toEqual([]);
    expect(await keys()).toHaveLength(1);
    expect((await step("koa", "GET /api/session")).answer.json()).toMatchObject({ id, user: "ada", cart: [] });

    // Log out on Express: the record is gone, at most a tombstone stands for a short time.
    const logout = await step("express", "POST /api/logout");
    expect(logout.commands).toHaveLength(2);
    expect(visitor.cookies.size).toBe(0);
    const left = await keys();
    expect(left.length).toBeLessThanOrEqual(1);
    for (const { ttlMs, value } of left) {
      expect(ttlMs).toBeLessThanOrEqual(60_000);
      expect(value).not.toContain("ada");
    }
    const [cookie = ""] = secrets;
    visitor.cookies.set("sid", cookie);
    for (const framework of ["express", "koa", "fastify"] as const) {
      expect((await step(framework, "GET /api/session")).answer.json()).toMatchObject({
        user: null,
        isNew: true,
        cart: [],
      });
    }

    // The secret of the cookie stands in no command, no key and no value; the id of the session is not it.
    expect(secrets.size).toBe(1);
    const [secret = "", signature = ""] = cookie.split(".");
    expect(secret).toMatch(/^[\w-]{32}$/);
    expect(signature).toMatch(/^[\w+/-]{43}$/);
    const everything = [...monitor.lines, ...seenKeys.map(({ name, value }) => `${name} ${value}`)].join("\n");
    expect(everything).toContain(id);
    for (const raw of [secret, signature]) expect(everything).not.toContain(raw);
  });
});
