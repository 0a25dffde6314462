/**
 * Gate T17: floods of requests without a session, or with forged ones, over real sockets. They store nothing, cost Redis
 * nothing unless a cookie is signed, and leave memory as it was. The whole counts in a run of the gates
 * (`npm run gates`).
 */
import { randomBytes } from "node:crypto";
import { Agent, request } from "node:http";
import { sign } from "cookie-signature";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isFull, tally, times } from "../support/counts.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";
import { type SecurityNode, signingKey, startNode } from "./node.ts";

const count = times(150, 20_000);
const mixed = times(600, 100_000);
const warmUp = times(60, 12_000);
/** In flight at once. */
const lanes = 32;
const mostGrowth = 5_000_000;

const text = (bytes: number): string => randomBytes(bytes).toString("base64url");

interface Kind {
  method: string;
  path: string;
  cookie(): string | undefined;
  /** Store commands that one request may cost. */
  commands: number;
}

const kinds: Record<string, Kind> = {
  "without a cookie": { method: "GET", path: "/", cookie: () => undefined, commands: 0 },
  "with a junk cookie": { method: "GET", path: "/", cookie: () => text(40), commands: 0 },
  "with a forged signature": {
    method: "GET",
    path: "/",
    cookie: () => `${text(24)}.${text(40).slice(0, 43)}`,
    commands: 0,
  },
  "with a signed id that is dead": { method: "GET", path: "/", cookie: () => sign(text(24), signingKey), commands: 1 },
  "to log out": { method: "POST", path: "/logout", cookie: () => undefined, commands: 0 },
};

let redis: RedisServer;
let node: SecurityNode;
const agent = new Agent({ keepAlive: true, maxSockets: lanes });

beforeAll(async () => {
  redis = await startRedis();
  node = await startNode(redis.url);
});

afterAll(async () => {
  agent.destroy();
  await node?.stop();
  await redis?.stop();
});

/** One request; resolves to what was wrong with the answer. */
function send(url: string, { method, path, cookie }: Kind): Promise<string | undefined> {
  const value = cookie();
  const headers = value === undefined ? {} : { cookie: `__Host-sid=${value}` };
  return new Promise((resolve, reject) => {
    const sent = request(`${url}${path}`, { agent, method, headers }, (response) => {
      response.resume();
      const { statusCode, headers } = response;
      const isRight = statusCode === 200 && headers["set-cookie"] === undefined;
      response.once("end", () => resolve(isRight ? undefined : `${statusCode} ${headers["set-cookie"]}`));
    });
    sent.once("error", reject);
    sent.end();
  });
}

/** Sends `times` requests; resolves to what was wrong with any of them. */
async function flood(url: string, kindOf: (at: number) => Kind, times: number): Promise<string[]> {
  const wrong: string[] = [];
  let left = times;
  const lane = async (): Promise<void> => {
    while (left-- > 0) {
      const problem = await send(url, kindOf(left));
      if (problem !== undefined) wrong.push(problem);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return wrong;
}

/** How many commands on keys Redis has run. */
async function commands(): Promise<number> {
  const stats = await redis.command("INFO", "commandstats");
  const onKeys = [...stats.matchAll(/^cmdstat_(get|getex|set|eval|evalsha|expire|pexpireat|del):calls=(\d+)/gm)];
  return onKeys.reduce((sum, [, , calls]) => sum + Number(calls), 0);
}

async function keys(): Promise<string> {
  return (await redis.command("DBSIZE")).trim();
}

/** By the heap, and in a run of the gates by what the system counts, too. */
async function bytesInUse(): Promise<number[]> {
  const { heap, rss } = await node.memory();
  return isFull ? [heap, rss] : [heap];
}

/** The allocator gives back what was freed when it likes; what is kept it never does. */
async function expectNoGrowth(before: readonly number[]): Promise<void> {
  let grown: number[] = [];
  const isFlat = async (): Promise<boolean> => {
    grown = (await bytesInUse()).map((bytes, at) => bytes - (before[at] ?? 0));
    return grown.every((bytes) => bytes < mostGrowth);
  };
  await until(isFlat, "memory to be as it was").catch((error: unknown) => {
    throw new Error(`heap${isFull ? " and RSS" : ""} grew by ${grown.join(" and ")} bytes`, { cause: error });
  });
}

describe.each(["Express", "Koa", "Fastify"].map((name, at) => ({ name, at })))("in $name", ({ at }) => {
  it(`[flood] ${count} requests of each kind leave nothing behind: no key, no cookie, no command, no memory`, async () => {
    const url = node.urls[at] ?? "";
    // What is made once a process, and the caches that are filled up to a bound, are no growth.
    for (const kind of Object.values(kinds)) await flood(url, () => kind, warmUp);
    const before = await bytesInUse();
    for (const [name, kind] of Object.entries(kinds)) {
      const started = await commands();
      expect(await flood(url, () => kind, count), name).toEqual([]);
      expect((await commands()) - started, name).toBe(kind.commands * count);
    }
    tally("T17", "requests that created nothing", count * Object.keys(kinds).length);
    expect(await keys()).toBe(":0");
    await expectNoGrowth(before);
  }, 900_000);
});

it(`[flood] ${mixed} requests of crawlers and forgers, mixed, create nothing`, async () => {
  const [cookieless, forged] = [kinds["without a cookie"], kinds["with a forged signature"]];
  if (cookieless === undefined || forged === undefined) throw new Error("they are named above");
  const [url = ""] = node.urls;
  const [before, started] = [await bytesInUse(), await commands()];
  expect(await flood(url, (at) => (at % 2 === 0 ? cookieless : forged), mixed)).toEqual([]);
  expect((await commands()) - started).toBe(0);
  expect(await keys()).toBe(":0");
  tally("T17", "requests that created nothing", mixed);
  await expectNoGrowth(before);
}, 900_000);
