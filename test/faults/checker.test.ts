/**
 * The checker's short run, and the proof that it sees what it is there to see. Long runs: `npm run soak`. The apps run
 * from `dist/`, each in a process of its own.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { expectDone } from "../support/in-time.ts";
import { bugs } from "./checker/bugs.mjs";
import { check } from "./checker/run.mjs";

beforeAll(() => ensureBuilt());

describe("clients on Express, Koa and Fastify with one Redis", () => {
  it("lose nothing, revive nothing and share nothing while it is killed, hangs and loses answers", async () => {
    const seed = Date.now() % 1_000_000;
    const figures = await check({ seconds: 10, seed, calmMs: 400 });
    console.log(JSON.stringify({ ...figures, violations: figures.violations.length }));
    expect(figures.violations.slice(0, 10), `seed ${seed}`).toEqual([]);
    expectDone(figures.operations, 100, "the load");
    expectDone(Object.keys(figures.faults).length, 2, "kinds of faults");
  });
});

/** What each planted bug must be caught as. */
const caughtAs: Record<string, string> = {
  "last-write": "lost",
  "recreating-save": "back",
  "early-answer": "lost",
  leak: "foreign",
  "weak-id": "weak-id",
  "no-ttl": "no-ttl",
  "double-update": "double",
};

describe("the checker catches", () => {
  it.each(bugs)("an app with the bug %s", async (bug) => {
    let kinds = new Set<string>();
    for (let seed = 1; seed <= 5 && !kinds.has(caughtAs[bug] ?? ""); seed += 1) {
      const { violations } = await check({ seconds: seed, seed, bug, frameworks: ["express", "koa"], thinkMs: 2 });
      kinds = new Set(violations.map(({ kind }) => kind));
    }
    expect(kinds).toContain(caughtAs[bug]);
  });
});
