/**
 * The cluster's demo, started as `npm run demo:cluster` does and used in a real browser: what dies by its buttons, and
 * what the session makes of it; and that nothing of it outlives its process, however that ends.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { freePort } from "../../examples/cluster/free-port.mjs";
import { startChromium } from "../support/chromium.ts";
import { noteOutput } from "../support/raw-ids.ts";
import { until } from "../support/redis-server.ts";
import { lowContrast, pageWidth, tooWide } from "./in-page.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

beforeAll(() => ensureBuilt());

/** A demo in a process of its own, with a folder for temporary files of its own. */
class Running {
  output = "";
  readonly ended: Promise<number | string>;

  private constructor(
    readonly child: ChildProcess,
    readonly folder: string,
  ) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk) => {
        this.output += chunk;
        noteOutput(chunk);
      });
    }
    this.ended = once(child, "close").then(([code, signal]) => code ?? signal);
  }

  static async run(
    env: Record<string, string> = {},
    command = [process.execPath, ".ci/demo-cluster.mjs"],
  ): Promise<Running> {
    const folder = await mkdtemp(join(tmpdir(), "holdfast-demo-"));
    const [file = "", ...args] = command;
    const { PATH, HOME } = process.env;
    const child = spawn(file, args, {
      cwd: root,
      env: { PATH, HOME, TMPDIR: folder, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    return new Running(child, folder);
  }

  /** Waits until everything runs. Resolves to the page's address. */
  async serves(): Promise<string> {
    await until(() => {
      if (this.child.exitCode !== null) throw new Error(this.output);
      return this.output.includes("Ctrl-C ends it.");
    }, "the demo to serve");
    return /http:\/\/localhost:\d+/.exec(this.output)?.[0] ?? "";
  }

  /** Every port that was printed: the page, the app, nodes, Redis and Sentinels. */
  get ports(): number[] {
    return [...this.output.matchAll(/:(\d{2,5})\b/g)].map(([, port]) => Number(port));
  }

  /** Waits until nobody listens any more and no file is left. */
  async isGone(): Promise<void> {
    await until(async () => {
      const open = await Promise.all(this.ports.map(isOpen));
      return (
        !open.includes(true) && (await readdir(this.folder)).filter((name) => name.startsWith("holdfast")).length === 0
      );
    }, "everything to be gone");
    await rm(this.folder, { recursive: true, force: true });
  }

  /** For the end of a test, whatever became of it. */
  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill("SIGTERM");
    await this.ended;
  }
}

/** Whether somebody listens there. */
async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

describe("the cluster's demo in a browser", () => {
  let demo: Running;
  let chromium: Browser;
  let url: string;
  beforeAll(async () => {
    demo = await Running.run({}, ["npm", "run", "demo:cluster"]);
    [url, chromium] = await Promise.all([demo.serves(), startChromium()]);
  });
  afterAll(async () => {
    await chromium?.close();
    await demo?.stop();
    await demo?.isGone();
  });

  /** A browser profile of its own on the page, once it shows the cluster and has counted its first visit. */
  async function open(
    options: Parameters<Browser["newContext"]>[0] = {},
  ): Promise<{ page: Page; complaints: string[] }> {
    const context = await chromium.newContext(options);
    onTestFinished(() => context.close());
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith(url) && !request.url().startsWith("data:")) complaints.push(request.url());
    });
    page.on("console", (message) => {
      // Chromium's own word for an answer such as 503.
      if (!message.text().startsWith("Failed to load resource")) complaints.push(message.text());
    });
    await page.goto(url);
    await shows(page, "#nodes .badge", ["up", "up", "up"]);
    await shows(page, "#balancer .badge", ["UP", "UP", "UP"]);
    await until(
      async () => (await numberOf(page, "answered")) + (await numberOf(page, "failed")) > 0,
      "the first visit",
    );
    return { page, complaints };
  }

  /** Waits until the elements have these texts. */
  const shows = (page: Page, selector: string, texts: readonly string[]): Promise<void> =>
    until(
      async () => JSON.stringify(await page.locator(selector).allTextContents()) === JSON.stringify(texts),
      `${selector} to be ${texts}`,
    );

  const numberOf = async (page: Page, id: string): Promise<number> => Number(await page.textContent(`#${id}`));

  /** Visits until one more was answered; resolves to the counter and to the node that answered. */
  async function visit(page: Page): Promise<{ count: number; node: string }> {
    const answered = await numberOf(page, "answered");
    await until(async () => {
      const response = page.waitForResponse((each) => each.url().endsWith("/count"));
      await page.getByRole("button", { name: "Visit", exact: true }).click();
      await (await response).finished();
      return (await numberOf(page, "answered")) > answered;
    }, "a visit to be answered");
    const [node = ""] = ((await page.textContent("#by")) ?? "").split(" ");
    return { count: await numberOf(page, "count"), node };
  }

  /** The Redis server that the page calls the master. */
  async function masterOf(page: Page): Promise<string> {
    const badges = await page.locator("#redis .badge").allTextContents();
    return `r${badges.indexOf("master") + 1}`;
  }

  it("goes on counting when the node that serves the session is killed, and takes it back when it lives again", async () => {
    const { page, complaints } = await open();
    await page.getByRole("button", { name: "Log in as Ada" }).click();
    await shows(page, "#user", ["Ada"]);
    const start = await visit(page);
    const nodes = new Set([start.node]);
    let visits = 0;
    for (let last = start; nodes.size < 3; visits += 1) {
      const { count, node } = await visit(page);
      expect(count).toBeGreaterThan(last.count);
      last = { count, node };
      nodes.add(node);
    }

    await page.getByLabel("Always mine").check();
    const first = await visit(page);
    const mine = await visit(page);
    expect(mine.node).toBe(first.node);
    await page.getByRole("button", { name: `Kill ${first.node}` }).click();
    await shows(page, `#nodes [data-name=${first.node}] .badge`, ["down"]);
    const next = await visit(page);
    expect(next.node).not.toBe(first.node);
    // A visit that a dying node took may have counted without an answer; none is lost.
    expect(next.count).toBeGreaterThan(mine.count);
    expect(next.count).toBeLessThanOrEqual(start.count + visits + 3 + (await numberOf(page, "failed")));
    expect(await page.textContent("#user")).toBe("Ada");
    await shows(page, `#balancer [data-name=${first.node}] .badge`, ["DOWN"]);

    await page.getByRole("button", { name: `Revive ${first.node}` }).click();
    await shows(page, `#nodes [data-name=${first.node}] .badge`, ["up"]);
    await shows(page, `#balancer [data-name=${first.node}] .badge`, ["UP"]);
    const line = page.locator("#requests li", { hasText: `${next.node} POST /sticky/count` });
    await until(async () => (await line.count()) > 0, "the balancer's log to show who answered then");
    expect(complaints).toEqual([]);
  });

  it("keeps the session when the Redis master is killed", async () => {
    const { page, complaints } = await open();
    await page.getByRole("button", { name: "Log in as Ada" }).click();
    await shows(page, "#user", ["Ada"]);
    const before = await visit(page);
    const old = await masterOf(page);
    await until(
      async () => (await page.textContent("#through")) === `Redis ${old}`,
      "the Redis that serves to be shown",
    );

    await page.getByRole("button", { name: "Kill the master" }).click();
    await shows(page, `#redis [data-name=${old}] .badge`, ["down"]);
    const after = await visit(page);
    expect(after.count).toBeGreaterThan(before.count);
    expect(after.count).toBeLessThanOrEqual(before.count + 1 + (await numberOf(page, "failed")));
    expect(await page.textContent("#user")).toBe("Ada");
    await until(async () => !["r0", old].includes(await masterOf(page)), "another master to be shown");
    const master = await masterOf(page);
    await until(async () => (await page.textContent("#through")) === `Redis ${master}`, "the new one to serve");
    expect(await page.locator("#events li").allTextContents()).toContainEqual(
      expect.stringContaining(`${master} is the Redis master`),
    );

    await page.getByRole("button", { name: `Revive ${old}` }).click();
    await until(
      async () => /rejoining|replica/.test((await page.textContent(`#redis [data-name=${old}] .badge`)) ?? ""),
      "the old master to be back",
    );
    expect((await visit(page)).count).toBeGreaterThan(after.count);
    expect(complaints).toEqual([]);
  });

  it.each(["light", "dark"] as const)(
    "can be read in the %s scheme, and fits a phone and a desk",
    async (colorScheme) => {
      const { page } = await open({ colorScheme });
      expect(await page.evaluate(lowContrast)).toEqual([]);
      for (const width of [320, 390, 820, 1440]) {
        await page.setViewportSize({ width, height: 900 });
        expect(await page.evaluate(tooWide), `${width}`).toEqual([]);
        expect(await page.evaluate(pageWidth)).toBe(width);
      }
    },
  );

  it("takes orders from its own page only", async () => {
    const kill = `${url}/panel/kill?name=n1`;
    expect((await fetch(kill, { method: "POST" })).status).toBe(403);
    expect((await fetch(kill, { headers: { "x-demo": "1" } })).status).toBe(403);
    const other = await fetch(`${url}/panel/kill?name=s1`, { method: "POST", headers: { "x-demo": "1" } });
    expect([other.status, await other.text()]).toEqual([409, "There is no such node."]);
    expect((await fetch(`${url}/panel/nothing`)).status).toBe(404);
  });
});

describe("nothing of the cluster's demo is left", () => {
  it("after Ctrl-C, which ends it with code 0", async () => {
    const demo = await Running.run();
    onTestFinished(() => demo.stop());
    await demo.serves();
    expect(demo.ports).toHaveLength(11);
    demo.child.kill("SIGINT");
    expect(await demo.ended).toBe(0);
    await demo.isGone();
    expect(demo.output).not.toMatch(/error/i);
  });

  it("after its process was killed", async () => {
    const demo = await Running.run();
    onTestFinished(() => demo.stop());
    await demo.serves();
    demo.child.kill("SIGKILL");
    await demo.isGone();
  });

  it("after one of its programs did not start, and it says which and why", async () => {
    const folder = await mkdtemp(join(tmpdir(), "holdfast-path-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    await writeFile(join(folder, "haproxy"), "#!/bin/sh\necho 'the moon is full' >&2\nexit 3\n");
    await chmod(join(folder, "haproxy"), 0o755);
    const broken = await Running.run({ PATH: `${folder}:${process.env.PATH}` });
    expect(await broken.ended).toBe(1);
    expect(broken.output).toContain("lb (haproxy) ended at its start:\nthe moon is full");
    await broken.isGone();
  });

  it("when its port is taken: it says so before it starts anything", async () => {
    const port = await freePort();
    const squatter = createServer().listen(port, "127.0.0.1");
    onTestFinished(() => void squatter.close());
    const demo = await Running.run({ PORT: String(port) });
    expect(await demo.ended).toBe(1);
    expect(demo.output).toBe(`Port ${port} is in use. Choose another one, or none: PORT=8080 npm run demo:cluster\n`);
    await demo.isGone();
  });
});
