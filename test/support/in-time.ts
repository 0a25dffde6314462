/**
 * Times that users are promised, or that tell a wait from no wait. A machine that stalls for a moment makes such a test
 * fail with nothing wrong, so the runner's configuration gives a failure of this kind, and of no other, one more run.
 */
import { expect } from "vitest";

/** What took `ms` may take `limitMs`. `what` stands in the failure. */
export function expectTook(ms: number, limitMs: number, what: string): void {
  // `retry.condition` in vitest.config.ts looks for these first words.
  expect(ms, `too late: ${what}`).toBeLessThanOrEqual(limitMs);
}
