/**
 * The secret of a cookie is in the cookie and nowhere else: all that a node says, on any channel and as loud as it can,
 * while everything happens to its sessions that can, has none of the secrets that its browsers hold.
 */
import { sign } from "cookie-signature";
import { expect, it, onTestFinished } from "vitest";
import { Browser } from "../support/browser.ts";
import { startRedis, until } from "../support/redis-server.ts";
import { type SecurityNode, signingKey, startNode } from "./node.ts";

/** Notes each cookie that it is given, and each that it sends by hand. */
class NotingBrowser extends Browser {
  readonly noted: Set<string>;

  constructor(url: string, noted: Set<string>) {
    super(url);
    this.noted = noted;
  }

  override async open(path: string, init: RequestInit = {}): Promise<Response> {
    const response = await super.open(path, init);
    const given = response.headers.getSetCookie().map((line) => line.split(";", 1)[0] ?? "");
    for (const pair of [...given, ...[...this.cookies].map(([name, value]) => `${name}=${value}`)]) {
      this.noted.add(pair.slice(pair.indexOf("=") + 1));
    }
    return response;
  }
}

async function live(url: string, noted: Set<string>): Promise<void> {
  const browser = new NotingBrowser(url, noted);
  const at = (path: string, userAgent = "Firefox") => browser.get(path, { headers: { "user-agent": userAgent } });
  for (const path of ["/", "/visit", "/inspect", "/login", "/visit", "/inspect", "/large", "/unstorable", "/throw"]) {
    // Errors are asked for here, too: each in its way.
    const answer = await at(path);
    expect([200, 401, 500], path).toContain(answer.status);
  }
  await at("/visit", "curl");
  const late = browser.cookies.get("__Host-sid") ?? "";
  await at("/regenerate");
  await at("/login");
  await at("/logout");
  // What is no session, in each way that a cookie can be none.
  const dead = "d".repeat(32);
  const others = [
    late,
    `${late}x`,
    late.slice(1),
    `${dead}.${"s".repeat(43)}`,
    sign(dead, signingKey),
    `${dead}.${dead}`,
  ];
  for (const value of others) {
    noted.add(value);
    await browser.get("/visit", { headers: { cookie: `__Host-sid=${value}` } });
  }
}

/** The whole value, and each half of it: none may be seen. */
function partsOf(values: Iterable<string>): string[] {
  return [...values].flatMap((value) => [value, ...value.split(".")]).filter((part) => part.length >= 16);
}

it("[no id in logs] no log, event, error, warning or inspection has a secret, a signature or a key", async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const node: SecurityNode = await startNode(redis.url, { TALK: "on", NODE_DEBUG: "holdfast", DEBUG: "ioredis:*" });
  onTestFinished(() => node.stop());
  const noted = new Set<string>();
  for (const url of node.urls) await live(url, noted);
  const browsers = node.urls.map((url) => new NotingBrowser(url, noted));
  for (const browser of browsers) expect((await browser.get("/login")).status).toBe(200);
  // Somebody puts garbage where their records are; then Redis refuses, and then it is gone.
  const keys = (await redis.command("KEYS", "*")).split(/\r?\n/).filter((line) => line.startsWith("holdfast:"));
  for (const key of keys) await redis.command("SET", key, "garbage");
  for (const browser of browsers) expect([200, 503]).toContain((await browser.get("/visit")).status);
  await redis.command("CONFIG", "SET", "maxmemory", "1");
  for (const browser of browsers) expect([200, 503]).toContain((await browser.get("/visit")).status);
  await redis.kill();
  for (const browser of browsers) expect((await browser.get("/visit")).status).toBe(503);
  await until(() => node.output().includes("ECONNREFUSED"), "the node to say that Redis is gone");
  await node.stop();
  const output = node.output();
  // It did talk: events, reasons, errors with their stacks, Fastify's log, and ioredis's.
  const said = ["created", "saved", "renewed", "destroyed", "rejected", "anomaly", "storeError"];
  for (const name of said) expect(output).toContain(`event ${name}`);
  for (const text of [
    "HOLDFAST",
    "empty session: bad signature",
    "ERR_SESSION_TOO_LARGE",
    "ERR_SESSION_VALUE",
    "ERR_SESSION_GONE",
    "garbage",
    "OOM",
    '"level":20',
    "ioredis:redis write command",
  ]) {
    expect(output, text).toContain(text);
  }
  const parts = partsOf(noted);
  expect(parts.length).toBeGreaterThan(60);
  expect(parts.filter((part) => output.includes(part) || output.includes(encodeURIComponent(part)))).toEqual([]);
  expect(output).not.toContain(signingKey);
});
