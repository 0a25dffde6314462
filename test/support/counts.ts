/**
 * How often the tests do what they do: the issues' counts in `npm test`, those of the gates with `HOLDFAST_FULL`, which
 * `npm run gates` sets. And the seed of everything random, which a failure prints: `HOLDFAST_SEED` repeats it.
 */
import { randomInt } from "node:crypto";
import { appendFileSync } from "node:fs";
import { afterAll } from "vitest";

/** Whether the whole counts are asked for. */
export const isFull: boolean = process.env.HOLDFAST_FULL !== undefined;

/** The seed of this run. */
export const seed: number = Number(process.env.HOLDFAST_SEED ?? randomInt(2 ** 31));

/** `full` in a run of the gates, `usual` in any other. */
export function times(usual: number, full: number): number {
  return isFull ? full : usual;
}

const figures = new Map<string, number>();

/** Adds to a figure of a gate ("T9", "lost answers"): what was really done, for the table of `npm run gates`. */
export function tally(gate: string, what: string, count = 1): void {
  const key = `${gate} ${what}`;
  figures.set(key, (figures.get(key) ?? 0) + count);
}

const report = process.env.HOLDFAST_FIGURES;

if (report !== undefined) {
  // Each file of tests has a copy of this module.
  afterAll(() => {
    for (const [key, count] of figures) appendFileSync(report, `${JSON.stringify({ key, count })}\n`);
    figures.clear();
  });
}
