/** What a real HAProxy makes of the health check: of a node that drains, and of a Redis that is gone. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import type { Health } from "../../src/index.ts";
import { Browser } from "../support/browser.ts";
import { type HAProxy, startHAProxy } from "../support/haproxy.ts";
import { until } from "../support/redis-server.ts";
import { type NodeAnswer, type Nodes, startNodes } from "./nodes.ts";

/** Longer than any of these tests looks at a node that drains. */
const notice = "1m";

let nodes: Nodes;
let balancer: HAProxy;

beforeAll(async () => {
  ensureBuilt();
  nodes = await startNodes({ notice });
});
afterEach(() => balancer?.program.stop());
afterAll(() => nodes?.stop());

async function nodeOf(browser: Browser): Promise<string> {
  const answer = await browser.get("/count", { method: "POST" });
  expect([answer.status, answer.text]).toEqual([200, expect.stringContaining('"node"')]);
  return answer.json<NodeAnswer>().node;
}

describe("behind HAProxy", () => {
  it("a Redis that is gone takes no node out of service, and the health check says so", async () => {
    balancer = await startHAProxy({ config: "haproxy-cookie.cfg", ports: nodes.ports });
    const browser = new Browser(balancer.url);
    const home = await nodeOf(browser);
    await nodes.redis.kill();
    for (const { port } of nodes.all) {
      const health = async (): Promise<Health> =>
        JSON.parse(await (await fetch(`http://127.0.0.1:${port}/health`)).text());
      await until(async () => (await health()).store === "down", "the health check to say that Redis is down");
      expect(await health()).toMatchObject({ status: "healthy", store: "down" });
    }
    expect(await balancer.states()).toEqual({ n1: "UP", n2: "UP", n3: "UP" });
    expect((await browser.get("/")).status).toBe(503); // the node's own answer, in time
    await nodes.redis.restart();
    await until(async () => (await browser.get("/")).status === 200, "the node to serve again");
    expect(await nodeOf(browser)).toBe(home);
    expect(await balancer.states()).toEqual({ n1: "UP", n2: "UP", n3: "UP" });
  });

  it("a node that drains keeps the browsers it has, new sessions included, and gets no new ones", async () => {
    balancer = await startHAProxy({ config: "haproxy-cookie.cfg", ports: nodes.ports });
    const browsers = Array.from({ length: 9 }, () => new Browser(balancer.url));
    const homes = await Promise.all(browsers.map(nodeOf));
    const leaving = homes[0] ?? "";
    void nodes.named(leaving).program.terminate();
    await balancer.sees(leaving, /^NOLB/);
    expect(await Promise.all(browsers.map(nodeOf))).toEqual(homes);
    const [first] = browsers;
    await first?.get("/logout", { method: "POST" });
    expect(await nodeOf(first ?? new Browser(""))).toBe(leaving);
    const newcomers = await Promise.all(Array.from({ length: 9 }, () => nodeOf(new Browser(balancer.url))));
    expect(newcomers).not.toContain(leaving);
  });
});
