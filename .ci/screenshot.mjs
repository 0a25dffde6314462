// @ts-check
/**
 * `node .ci/screenshot.mjs` takes the picture of the cluster's demo that the README shows, `.github/demo-cluster.png`: in a
 * real browser, after a node and the Redis master were killed by the page's own buttons.
 */
import { join } from "node:path";
import { chromium } from "playwright-core";
import { start } from "../examples/cluster/demo.mjs";
import { root } from "./dependencies.mjs";
import { prepare } from "./prepare.mjs";
import { servers } from "./servers.mjs";

const needed = ["redis-server", "redis-sentinel", "haproxy", "chromium"];
prepare(servers.filter(({ command }) => needed.includes(command)));

const demo = await start();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1120, height: 700 }, colorScheme: "light" });
  page.setDefaultTimeout(60_000);
  await page.goto(demo.url);
  await page.getByRole("button", { name: "Log in as Ada" }).click();
  await page.getByRole("button", { name: "Visit by itself" }).click();
  const counted = (/** @type {number} */ count) =>
    page
      .getByText(new RegExp(`^${count}$`))
      .first()
      .waitFor();
  await counted(25);
  await page.getByRole("button", { name: "Kill n2" }).click();
  await page.locator("#balancer [data-name=n2] .badge", { hasText: "DOWN" }).waitFor();
  await page.getByRole("button", { name: "Kill the master" }).click();
  await page.locator("#events li", { hasText: "is the Redis master" }).waitFor();
  await page.locator("#redis li", { hasText: "serves the sessions" }).waitFor();
  await counted(60);
  await page.screenshot({ path: join(root, ".github", "demo-cluster.png"), fullPage: true });
} finally {
  await browser.close();
  await demo.stop();
}
