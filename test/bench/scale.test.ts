/**
 * Runs the measurement of many sessions with few of them, on the built package: it ends well, no command that walks the
 * keys is used, in the request path or elsewhere, and Redis keeps less for a session than connect-redis has it keep.
 * CPU is not judged here.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";

describe("npm run bench:scale", () => {
  beforeAll(() => ensureBuilt());

  it("prints bytes and CPU a session, the near cache's memory, and the commands, none of which walks the keys", async () => {
    const script = fileURLToPath(new URL("./scale.mjs", import.meta.url));
    const few = ["--sizes", "16000", "--cached", "300", "--operations", "100", "--apps", "1"];
    const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", script, ...few], {
      // A run that hangs ends before its test does.
      timeout: 300_000,
    });
    expect(stdout).toMatch(/^\| +16,000 \| +\d+ \| +\d+ \| +[\d.]+ \/ [\d.]+ \| +[\d.]+ \/ [\d.]+ \|$/m);
    // Bytes are Redis's own count, for the same data: they depend on no machine.
    const [, ours, theirs] = /each, all of one length: (\d+) above it, connect-redis (\d+)\./.exec(stdout) ?? [];
    expect(Number(ours)).toBeLessThanOrEqual(280);
    expect(Number(ours)).toBeLessThan(Number(theirs));
    expect(stdout).toContain("300 of 300 reads afterwards asked Redis nothing");
    expect(stdout).toMatch(
      /^Commands that Redis was sent.*:\n(?=.*\bget\b)(?=.*\bevalsha\b)(?=.*\bzrange\b)(?!.*\b(scan|keys)\b)/m,
    );
  });
});
