/**
 * Times that users are promised, or that tell a wait from no wait, on a machine that may be slow, or stand still for a
 * moment with nothing wrong. How late this process came to run is measured, and counts. What fails for time alone, and
 * nothing else, gets two more runs; where the process was held up in each of them, the test is skipped and says so. Set up by the runner's configuration for every file, called by tests.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { afterEach, beforeEach, expect } from "vitest";

/** `retry.condition` in vitest.config.ts looks for these first words. */
const tooLate = "too late: ";

/** The steps of what is timed that may be late each: client, server, Redis, timer, client. */
const steps = 4;

/** A process that came to run so much later than it wanted was held up: stores were given up in time that answer. */
const heldUpMs = 200;
/** So long that no time which a test measured says anything. A client gives a command up after 500 ms. */
const heldUpForLongMs = 400;
/** As in vitest.config.ts. */
const retries = 2;

const lateness = monitorEventLoopDelay({ resolution: 10 });
lateness.enable();

/** How late this process came to run at worst since the test, or its timing, began; whole ms. */
export function lateMs(): number {
  return Math.max(0, Math.round(lateness.max / 1e6) - 10);
}

/** Whether this process came to run so late that a store which answers may have been given up. */
export function wasHeldUp(): boolean {
  return lateMs() >= heldUpMs;
}

/** From here on lateness counts: what went before, as starting a dozen apps, is not timed. */
export function beginTiming(): void {
  lateness.reset();
}

/** What took `ms` may take `limitMs`, and longer by how late this process came to run. `what` stands in the failure. */
export function expectTook(ms: number, limitMs: number, what: string): void {
  expect(ms, `${tooLate}${what}; this process was late by ${lateMs()} ms`).toBeLessThanOrEqual(
    limitMs + steps * lateMs(),
  );
}

/** A run that has a certain time must have come to more than `least`, or it has shown nothing. */
export function expectDone(count: number | undefined, least: number, what: string): void {
  expect(count, `${tooLate}${what}`).toBeGreaterThan(least);
}

/** A machine that stood still for longer than a Redis master may be silent makes Redis replace one that is well. */
export function expectNotHeldUp(silenceMs: number): void {
  if (lateMs() > silenceMs) failLate(`masters were held up for ${lateMs()} ms, and are replaced after ${silenceMs}`);
}

/** Fails as `expectTook` does, with no time to compare. */
export function failLate(what: string): never {
  throw new Error(`${tooLate}${what}`);
}

/** Whether a failure says that a store was given up, and nothing about what it holds. */
function isOfTime({ message, actual, expected }: { message: string; actual?: unknown; expected?: unknown }): boolean {
  const isUnavailable = (text: unknown): boolean => /\b503\b/.test(String(text));
  if (message.startsWith(tooLate) || (isUnavailable(actual) && !isUnavailable(expected))) return true;
  return /the session store did not answer|could not \w+ .* in time|timed out|no answer within|answered 503 with/.test(
    message,
  );
}

let failedBefore = 0;
/** In the tries of one test so far. */
let latestMs = 0;

beforeEach(({ task }) => {
  failedBefore = task.result?.errors?.length ?? 0;
  if (failedBefore === 0) latestMs = 0;
  beginTiming();
});

afterEach(({ task, skip }) => {
  const failures = task.result?.errors?.slice(failedBefore) ?? [];
  if (failures.length === 0 || !wasHeldUp() || !failures.every(isOfTime)) return;
  latestMs = Math.max(latestMs, lateMs());
  if (task.result?.retryCount === retries && latestMs >= heldUpForLongMs) {
    skip(`this process was held up in each of ${1 + retries} tries, by ${latestMs} ms`);
  }
  failLate(`a store was given up, and this process had been held up for ${lateMs()} ms`);
});
