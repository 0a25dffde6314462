import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { startChromium } from "../support/chromium.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { type Demo, type Framework, frameworks, type Shown, startDemo } from "./demo.ts";
import { comeBack, focused, isSettled, lowContrast, pageWidth, tooWide } from "./in-page.ts";

let redis: RedisServer;
let demo: Demo;
let chromium: Browser;
beforeAll(async () => {
  redis = await startRedis();
  [demo, chromium] = await Promise.all([startDemo(redis.url), startChromium()]);
});
afterAll(async () => {
  await chromium?.close();
  await demo?.close();
  await redis?.stop();
});

/** What is on the page, read once it has settled. */
interface Seen {
  framework: string;
  id: string;
  state: string;
  user: string;
  views: string;
  cart: string[];
}

/** A browser profile of its own, and everything that its pages complained about. */
async function newVisitor(
  options: Parameters<Browser["newContext"]>[0] = {},
): Promise<{ page: Page; complaints: string[] }> {
  const context: BrowserContext = await chromium.newContext(options);
  onTestFinished(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("requestfailed", (request) => complaints.push(`failed: ${request.url()}`));
  page.on("request", (request) => {
    const own = Object.values(demo.urls).some((url) => request.url().startsWith(url));
    if (!own && !request.url().startsWith("data:")) complaints.push(`from elsewhere: ${request.url()}`);
  });
  return { page, complaints };
}

/** Does something on the page, and reads it once the page has shown what came of it. */
async function afterwards(page: Page, action: () => Promise<unknown>): Promise<Seen> {
  const shown = page.waitForResponse((response) => response.url().endsWith("/api/session"));
  await action();
  await (await shown).finished();
  await page.waitForFunction(isSettled);
  const textOf = async (id: string): Promise<string> => (await page.textContent(`#${id}`)) ?? "";
  return {
    framework: await textOf("framework"),
    id: await textOf("session-id"),
    state: await textOf("state"),
    user: await textOf("user"),
    views: await textOf("views"),
    cart: await page.locator("#cart li").allTextContents(),
  };
}

const open = (page: Page, framework: Framework): Promise<Seen> =>
  afterwards(page, () => page.goto(`${demo.urls[framework]}/`));

/** Goes to another framework by the link on the page. */
const follow = (page: Page, title: string): Promise<Seen> =>
  afterwards(page, () => page.getByRole("link", { name: title }).click());

/** Fills in a form by its label and sends it. */
const submit = (page: Page, label: string, text: string, button: string): Promise<Seen> =>
  afterwards(page, async () => {
    await page.getByLabel(label).fill(text);
    await page.getByRole("button", { name: button, exact: true }).click();
  });

const press = (page: Page, button: string): Promise<Seen> =>
  afterwards(page, () => page.getByRole("button", { name: button, exact: true }).click());

describe("the demo's page in a browser", () => {
  it("is one session on the three ports: visits, cart, login and logout", async () => {
    const { page, complaints } = await newVisitor();
    const first = await open(page, "express");
    expect(first).toMatchObject({ framework: "Express", state: "stored", user: "Not logged in", views: "1", cart: [] });
    expect(first.id).toMatch(/^[\w-]{43}$/);
    expect(await submit(page, "Item", "kelp", "Add")).toMatchObject({ cart: ["kelp"], id: first.id });

    const login = await submit(page, "Your name", "ada", "Log in");
    expect(login).toMatchObject({ user: "ada", cart: ["kelp"] });
    expect(login.id).toMatch(/^[\w-]{43}$/);
    expect(login.id).not.toBe(first.id);

    const { id } = login;
    expect(await follow(page, "Koa")).toEqual({
      framework: "Koa",
      id,
      state: "stored",
      user: "ada",
      views: "2",
      cart: ["kelp"],
    });
    expect(new URL(page.url()).port).toBe(new URL(demo.urls.koa).port);
    expect(await submit(page, "Item", "rope", "Add")).toMatchObject({ cart: ["kelp", "rope"], id });
    expect(await press(page, "20 at once")).toMatchObject({ views: "22", id });
    expect(await page.textContent("#views-note")).toBe("20 requests at once, 20 counted.");

    expect(await follow(page, "Fastify")).toEqual({
      framework: "Fastify",
      id,
      state: "stored",
      user: "ada",
      views: "23",
      cart: ["kelp", "rope"],
    });
    const logout = await press(page, "Log out");
    expect(logout).toMatchObject({ framework: "Fastify", state: "new", user: "Not logged in", views: "0", cart: [] });
    expect(await page.context().cookies()).toEqual([]);

    const fresh = await follow(page, "Express");
    expect(fresh).toMatchObject({ framework: "Express", user: "Not logged in", views: "1", cart: [] });
    expect(fresh.id).not.toBe(id);
    expect(complaints).toEqual([]);
  });

  it("counts down to both timeouts, by what the server says is left and not by the browser's clock", async () => {
    const { page } = await newVisitor();
    const wrong = Date.UTC(2001, 0, 1);
    await page.clock.install({ time: wrong });
    await page.clock.pauseAt(wrong + 3_600_000);
    const told = page.waitForResponse((response) => response.url().endsWith("/api/session"));
    await open(page, "koa");
    const { idleLeftMs, absoluteLeftMs }: Shown = await (await told).json();
    expect(idleLeftMs).toBeGreaterThan(15 * 60_000);
    expect(absoluteLeftMs).toBeGreaterThan(7 * 3_600_000);
    const [idle, absolute] = [Math.ceil(idleLeftMs / 1_000), Math.ceil(absoluteLeftMs / 1_000)];

    const secondsOf = async (id: string): Promise<number> =>
      ((await page.textContent(`#${id}`)) ?? "").split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
    const shown = async (): Promise<number[]> => [await secondsOf("idle"), await secondsOf("absolute")];
    expect(await shown()).toEqual([idle, absolute]);
    await page.clock.runFor(10_000);
    expect(await shown()).toEqual([idle - 10, absolute - 10]);
  });

  it("says what is wrong with what was typed, and goes on", async () => {
    const { page } = await newVisitor();
    await open(page, "fastify");
    await submit(page, "Item", "   ", "Add");
    expect(await page.getByRole("alert").textContent()).toBe('"item" must be a text of 1 to 100 characters.');
    expect(await submit(page, "Item", "<b>kelp</b>", "Add")).toMatchObject({ cart: ["<b>kelp</b>"] });
    expect(await page.getByRole("alert").count()).toBe(0);
    expect(await press(page, "Empty it")).toMatchObject({ cart: [] });
  });

  it("shows in one tab what was done in another, once one comes back to it", async () => {
    const { page } = await newVisitor();
    await open(page, "express");
    const other = await page.context().newPage();
    await open(other, "koa");
    await submit(other, "Your name", "grace", "Log in");
    const seen = await afterwards(page, () => page.evaluate(comeBack));
    expect(seen.user).toBe("grace");
  });

  it("never asks a CDN, and its HTML holds no session of anybody's", async () => {
    const { page, complaints } = await newVisitor();
    await open(page, "express");
    const id = await page.textContent("#session-id");
    for (const framework of frameworks) {
      const html = await (await fetch(demo.urls[framework])).text();
      expect(html).not.toContain(String(id));
    }
    expect(complaints).toEqual([]);
  });

  it.each([
    { width: 320, height: 640 },
    { width: 390, height: 844 },
    { width: 768, height: 1024 },
    { width: 1440, height: 900 },
  ])("fits a window of $width by $height, with long words in it and without", async (viewport) => {
    const { page } = await newVisitor({ viewport });
    await open(page, "koa");
    expect(await page.evaluate(tooWide)).toEqual([]);
    await submit(page, "Item", "w".repeat(100), "Add");
    await submit(page, "Your name", "W".repeat(100), "Log in");
    expect(await page.evaluate(tooWide)).toEqual([]);
    expect(await page.evaluate(pageWidth)).toBe(viewport.width);
  });

  it.each(["light", "dark"] as const)(
    "has text that can be read in the %s scheme, on each framework",
    async (colorScheme) => {
      const { page } = await newVisitor({ colorScheme });
      for (const framework of frameworks) {
        await open(page, framework);
        await submit(page, "Item", "kelp", "Add");
        expect(await page.evaluate(lowContrast), framework).toEqual([]);
      }
    },
  );

  it("can be used by the keyboard alone, and says what it is to a screen reader", async () => {
    const { page } = await newVisitor();
    await open(page, "express");
    expect(await page.getByRole("heading", { level: 1 }).textContent()).toBe("Express answered.");
    expect(await page.locator('nav a[aria-current="page"]').allTextContents()).toEqual([
      expect.stringMatching(/^Express/),
    ]);
    const reached = new Set<string>();
    for (let count = 0; count < 12; count++) {
      await page.keyboard.press("Tab");
      reached.add(await page.evaluate(focused));
    }
    for (const id of ["express", "koa", "fastify", "login-user", "visit", "visits", "add-item"])
      expect(reached).toContain(id);
    await page.getByLabel("Your name").focus();
    await page.keyboard.type("ada");
    expect((await afterwards(page, () => page.keyboard.press("Enter"))).user).toBe("ada");
  });
});
