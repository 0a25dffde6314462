/** The short form of the index soak; `node test/faults/index-soak.mjs --seconds 300` is the long one. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { seed, tally, times } from "../support/counts.ts";
import { expectDone } from "../support/in-time.ts";

const program = fileURLToPath(new URL("index-soak.mjs", import.meta.url));
const seconds = times(2, 300);

it(`after ${seconds} s of logins, revocations and limits the indexes name exactly what lives, and nothing when all has run out`, async () => {
  ensureBuilt();
  const args = [program, "--seconds", String(seconds), "--ttl", "700", "--seed", String(seed)];
  // Where it finds a fault it ends with 1, and says which in its output.
  const run = promisify(execFile)(process.execPath, args, { timeout: (seconds + 170) * 1_000 });
  const { stdout, stderr } = await run.catch((error: { stdout: string; stderr: string }) => error);
  expect(stderr).toBe("");
  const report = JSON.parse(stdout.trim().split("\n").at(-1) ?? "{}");
  expect(report).toMatchObject({ seed, faults: [] });
  expectDone(report.done.login, 10, "logins");
  expectDone(report.live, 0, "sessions that live at the end");
  expectDone(report.done.revoke, 0, "revocations");
  for (const [what, count] of Object.entries(report.done)) tally("index", `× ${what}`, Number(count));
});
