/**
 * Every configuration of `examples/cluster/` under a real balancer, with real nodes: it keeps browsers on their node, and
 * when that node is killed their next request is answered by another one, with the same data.
 */
import { readdir } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { Browser } from "../support/browser.ts";
import { type Balancer, checkHAProxy, startHAProxy } from "../support/haproxy.ts";
import { checkNginx, startNginx } from "../support/nginx.ts";
import { type NodeAnswer, type Nodes, startNodes } from "./nodes.ts";

/** One way to be sticky. */
interface Mode {
  config: string;
  /** Whether the nodes write their route into the cookie. */
  routes: boolean;
  /** The requests after which a browser is where it stays: a hash has the cookie from the second one on. */
  settled: number;
}

const modes: readonly Mode[] = [
  { config: "haproxy-cookie.cfg", routes: false, settled: 1 },
  { config: "haproxy-stick-table.cfg", routes: false, settled: 1 },
  { config: "haproxy-hash.cfg", routes: false, settled: 2 },
  { config: "nginx-hash.conf", routes: false, settled: 2 },
  { config: "haproxy-route.cfg", routes: true, settled: 1 },
  { config: "nginx-route.conf", routes: true, settled: 1 },
];

const folder = new URL("../../examples/cluster/", import.meta.url);

describe("the configurations in examples/cluster/", () => {
  it("are all under test here", async () => {
    // The demo's own part is tested with the demo.
    const files = (await readdir(folder)).filter((file) => /\.(cfg|conf)$/.test(file) && file !== "demo.cfg");
    expect(files.toSorted()).toEqual(modes.map(({ config }) => config).toSorted());
  });

  it("the demo's part is valid beside the one that it is for", async () => {
    expect(await checkHAProxy("haproxy-cookie.cfg", "demo.cfg")).toMatch(/Configuration file is valid/);
  });

  it.each(modes)("$config is valid as it stands", async ({ config }) => {
    if (config.endsWith(".cfg")) expect(await checkHAProxy(config)).toMatch(/Configuration file is valid/);
    else expect(await checkNginx(config)).toMatch(/test is successful/);
  });
});

/** Enough that they don't all hash to one node (by chance once in 3^15). */
const browserCount = 16;

/** A browser and what it saw last. */
interface Client {
  browser: Browser;
  answer: NodeAnswer;
  /** How often it was given the session's cookie since `reset`. */
  cookiesGiven: number;
}

for (const secure of [false, true]) {
  for (const routes of [false, true]) {
    const cookie = secure ? "__Host-sid" : "sid";
    describe(`with the cookie ${cookie}${routes ? " and routes" : ""}`, () => {
      let nodes: Nodes;
      let balancer: Balancer | undefined;
      beforeAll(async () => {
        ensureBuilt();
        nodes = await startNodes({ secure, routes });
      });
      afterEach(async () => {
        await balancer?.program.stop();
        balancer = undefined;
        await Promise.all(nodes.all.filter(({ program }) => program.hasEnded).map((node) => node.start()));
      });
      afterAll(() => nodes?.stop());

      /** One request that counts up, which the balancer must not lose. */
      async function count(client: Client): Promise<void> {
        const answer = await client.browser.get("/count", { method: "POST" });
        expect([answer.status, answer.text]).toEqual([200, expect.stringContaining('"count"')]);
        const before = client.answer.data.count;
        client.answer = answer.json<NodeAnswer>();
        expect(client.answer.data.count).toBe(Number(before ?? 0) + 1);
        client.cookiesGiven += answer.setCookies.filter((line) => line.startsWith(`${cookie}=`)).length;
      }

      async function everyone(clients: readonly Client[]): Promise<string[]> {
        await Promise.all(clients.map((client) => count(client)));
        return clients.map(({ answer }) => answer.node);
      }

      it.each(modes.filter((mode) => mode.routes === routes))(
        "$config keeps browsers on their node, and loses nothing when that is killed",
        async ({ config, settled }) => {
          balancer = config.endsWith(".cfg")
            ? await startHAProxy({ config, ports: nodes.ports, env: { COOKIE: cookie } })
            : await startNginx(config, nodes.ports);
          const { url } = balancer;
          const clients: Client[] = Array.from({ length: browserCount }, () => ({
            browser: new Browser(url),
            answer: { node: "", framework: "", pid: 0, data: {} },
            cookiesGiven: 0,
          }));
          for (let request = 1; request < settled; request += 1) await everyone(clients);
          const home = await everyone(clients);
          expect(new Set(home).size).toBeGreaterThan(1);
          expect(clients.map(({ cookiesGiven }) => cookiesGiven)).toEqual(clients.map(() => 1));
          for (let request = 0; request < 2; request += 1) expect(await everyone(clients)).toEqual(home);

          const victim = home[0] ?? "";
          await nodes.named(victim).program.kill();
          for (const client of clients) client.cookiesGiven = 0;
          const next = await everyone(clients);
          expect(next).not.toContain(victim);
          // Who was bound to another node has not moved.
          expect(next.filter((_, index) => home[index] !== victim)).toEqual(home.filter((node) => node !== victim));
          const later = [await everyone(clients), await everyone(clients)];
          if (routes) expect(later).toEqual([next, next]);
          expect(clients.map(({ cookiesGiven }) => cookiesGiven)).toEqual(
            home.map((node) => (routes && node === victim ? 1 : 0)),
          );
        },
      );
    });
  }
}
