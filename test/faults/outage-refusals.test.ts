/**
 * A Redis that answers and says no: out of memory, read-only, a full disk, an ACL, another type under the key. In all
 * three frameworks at once, with either policy, on the URL form and on a client of the user's with ioredis's defaults.
 */
import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { freePort } from "../../examples/cluster/free-port.mjs";
import { Browser } from "../support/browser.ts";
import { expectTook } from "../support/in-time.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";
import {
  ask,
  expectAnonymous,
  expectSameSession,
  expectServed,
  expectUnavailable,
  Fleet,
  recovery,
  slowest,
} from "./outage-fleet.ts";
import type { Seen } from "./outage-servers.ts";

let redis: RedisServer;
let fleet: Fleet;
const unhandled: unknown[] = [];
const note = (reason: unknown): void => void unhandled.push(reason);

beforeEach(async () => {
  redis = await startRedis();
  // One warning per client that lacks settings, which is what these tests are about.
  vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  unhandled.length = 0;
  process.on("unhandledRejection", note);
  process.on("uncaughtExceptionMonitor", note);
});

afterEach(async () => {
  await fleet.stop();
  process.off("unhandledRejection", note);
  process.off("uncaughtExceptionMonitor", note);
  await redis.stop();
  expect(unhandled).toEqual([]);
});

/** Reads work, writes are refused: a failed save is never a 200, whatever the policy, and a login sets no cookie. */
async function expectWritesRefused(what: string): Promise<void> {
  const cookies = fleet.members.map(({ browser }) => browser.cookieHeader);
  const refused = (await Promise.all([1, 2, 3].map((n) => fleet.all(`/set?lost=${n}`)))).flat();
  expectUnavailable(refused);
  const unwaited = await fleet.all("/unwaited");
  expectUnavailable(unwaited);
  const logins = await Promise.all(
    fleet.members.map((member) => ask(member, "/set?user=eve", new Browser(member.server.url))),
  );
  expectUnavailable(logins);
  expectSameSession(await fleet.all("/read"));
  expectServed(await fleet.all("/public"));
  expectServed(await fleet.all("/skipped"));
  expect(fleet.members.map(({ browser }) => browser.cookieHeader)).toEqual(cookies);
  console.info(`${what}: slowest refusal ${slowest([...refused, ...unwaited, ...logins])} ms`);
}

/** Everything works within a second, and nothing that was refused is there. */
async function expectWritesAgain(): Promise<void> {
  const since = performance.now();
  await Promise.all(
    fleet.members.map((member) =>
      until(async () => (await ask(member, "/set?after=yes")).answer.status === 200, `${member.title} to write`),
    ),
  );
  expectTook(performance.now() - since, 1_400, "the first good writes");
  const answers = await fleet.all("/read");
  expectSameSession(answers);
  for (const { member, answer } of answers) {
    expect(answer.json<Seen>().data).toEqual({ user: member.user, after: "yes" });
  }
  expect(fleet.inFlight).toBe(0);
}

describe("Express 5, Koa 3 and Fastify 5, on a URL and on a client of the user's", () => {
  it("a Redis that is out of memory (OOM): reads go on, a save is a 503, nothing half done", async () => {
    fleet = await Fleet.start(redis.port);
    await redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
    await redis.command("CONFIG", "SET", "maxmemory", "1");
    await expectWritesRefused("OOM");
    await redis.command("CONFIG", "SET", "maxmemory", "0");
    await expectWritesAgain();
  });

  it("a Redis that became a replica (READONLY): reads go on, a save is a 503, nothing half done", async () => {
    fleet = await Fleet.start(redis.port);
    await redis.command("REPLICAOF", "127.0.0.1", String(await freePort()));
    await expectWritesRefused("READONLY");
    await redis.command("REPLICAOF", "NO", "ONE");
    await expectWritesAgain();
  });

  it("a Redis whose disk is full (MISCONF, AOF): reads go on, a save is a 503, nothing half done", async () => {
    // Where the append-only file will be: a device without space.
    await mkdir(join(redis.dir, "appendonlydir"));
    await symlink("/dev/full", join(redis.dir, "appendonlydir", "temp-appendonly.aof.incr"));
    fleet = await Fleet.start(redis.port);
    await redis.command("CONFIG", "SET", "appendonly", "yes");
    await until(async () => (await redis.command("SET", "ballast", "x")).startsWith("-MISCONF"), "MISCONF");
    expect(await redis.command("SET", "ballast", "x")).toContain("No space left on device");
    await expectWritesRefused("MISCONF (AOF)");
    await redis.command("CONFIG", "SET", "appendonly", "no");
    await expectWritesAgain();
  });

  it("a Redis whose snapshot failed (MISCONF, RDB): reads go on, a save is a 503, nothing half done", async () => {
    fleet = await Fleet.start(redis.port);
    // A folder where the snapshot should go: not even root can write it.
    await mkdir(join(redis.dir, "dump.rdb", "in the way"), { recursive: true });
    await redis.command("CONFIG", "SET", "save", "3600 1");
    await redis.command("BGSAVE");
    await until(async () => (await redis.command("SET", "ballast", "x")).startsWith("-MISCONF"), "MISCONF");
    await expectWritesRefused("MISCONF (RDB)");
    await redis.command("CONFIG", "SET", "stop-writes-on-bgsave-error", "no");
    await expectWritesAgain();
  });

  it("an ACL that lets nobody write (NOPERM): reads go on, a save is a 503, nothing half done", async () => {
    await startWithUser();
    await redis.command("ACL", "SETUSER", "app", "-set", "-evalsha", "-eval");
    await expectWritesRefused("NOPERM");
    await redis.command("ACL", "SETUSER", "app", "+@all");
    await expectWritesAgain();
  });

  it("an ACL that lets nobody in (NOPERM): 503 or anonymous at once, the same session afterwards", async () => {
    await startWithUser();
    await redis.command("ACL", "SETUSER", "app", "-@all");
    const cookies = fleet.members.map(({ browser }) => browser.cookieHeader);
    for (const path of ["/read", "/set?lost=1", "/unwaited"])
      expectUnavailable(await fleet.all(path, fleet.with("fail")));
    expectAnonymous(await fleet.all("/read", fleet.with("anonymous")));
    expectServed(await fleet.all("/set?lost=1", fleet.with("anonymous")));
    expectServed(await fleet.all("/public"));
    expect(fleet.members.map(({ browser }) => browser.cookieHeader)).toEqual(cookies);
    await redis.command("ACL", "SETUSER", "app", "+@all");
    await recovery(fleet.members, 1_000);
    await expectWritesAgain();
  });

  it("a list under the session's key (WRONGTYPE): a new session and one report each time, never a 5xx", async () => {
    fleet = await Fleet.start(redis.port);
    for (const { id } of fleet.members) {
      await redis.command("DEL", `holdfast:${id}`);
      await redis.command("RPUSH", `holdfast:${id}`, "not", "a", "session");
    }
    const answers = await fleet.all("/read");
    expectServed(answers);
    for (const { member, answer } of answers) {
      expect(answer.json<Seen>()).toMatchObject({ isDegraded: false, data: {} });
      expect(answer.json<Seen>().id).not.toBe(member.id);
      expect(member.rejections).toEqual(["garbage"]);
    }
    const logins = await fleet.all("/set?user=again");
    expect(logins.map(({ answer }) => [answer.status, answer.setCookies.length])).toEqual(logins.map(() => [200, 1]));
    for (const { answer } of await fleet.all("/read")) expect(answer.json<Seen>().data).toEqual({ user: "again" });
    for (const { id } of fleet.members) expect(await redis.command("LLEN", `holdfast:${id}`)).toBe(":3");
  });
});

async function startWithUser(): Promise<void> {
  await redis.command("ACL", "SETUSER", "app", "on", ">password", "~*", "&*", "+@all");
  fleet = await Fleet.start(redis.port, { login: "app:password@" });
}
