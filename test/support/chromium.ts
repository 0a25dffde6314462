/** Real headless Chromium for tests, driven by playwright-core. No test logic. */
import { type Browser, chromium } from "playwright-core";

/** Quiet, and able to run as root in a container. Playwright gives it an empty profile of its own. */
const args = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts Chromium, the one that `npm test` found or installed. End it with `close()`. */
export function startChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
}
