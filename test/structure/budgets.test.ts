/** The sizes that keep files readable. A file that honestly can't says why in its header, behind the word "Budget:". */
import { describe, expect, it } from "vitest";
import { parseSource, readSources, type SourceFile } from "./source.ts";

const fileLines = 250;
const functionLines = 60;
const adapterLines = 120;

/** What is over budget and gives no reason. */
function overBudget(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ header }) => !header.includes("Budget:"))
    .flatMap(({ path, lines, functions }) => {
      const limit = /^adapters\/(express|koa|fastify)\.ts$/.test(path) ? adapterLines : fileLines;
      return [
        ...(lines > limit ? [`${path} has ${lines} lines, ${limit} are meant to do`] : []),
        ...functions
          .filter((span) => span.lines > functionLines)
          .map((span) => `${span.at}: a function of ${span.lines} lines, ${functionLines} are meant to do`),
      ];
    });
}

/** A file of that many lines, one function all over it. */
const file = (path: string, lines: number, header = "/** A file. */"): SourceFile =>
  parseSource(path, `${header}\nexport function f() {\n${"  f();\n".repeat(lines - 3)}}\n`);

describe("budgets", () => {
  it("hold in src/ and adapters/, or the file's header says why not", () => {
    const sources = readSources();
    expect(sources.length).toBeGreaterThan(10);
    expect(overBudget(sources)).toEqual([]);
  });

  it("are broken by a long file, a long function and a long adapter, and a reason mends them", () => {
    expect(overBudget([file("src/x.ts", 61)])).toEqual([]);
    expect(overBudget([file("src/x.ts", 62)])).toEqual(["src/x.ts:2: a function of 61 lines, 60 are meant to do"]);
    expect(overBudget([file("src/x.ts", 251)])).toContain("src/x.ts has 251 lines, 250 are meant to do");
    expect(overBudget([file("adapters/koa.ts", 121)])).toContain("adapters/koa.ts has 121 lines, 120 are meant to do");
    expect(overBudget([file("adapters/response-gate.ts", 121)])).toHaveLength(1);
    expect(overBudget([file("src/x.ts", 251, "/** A table. Budget: one table. */")])).toEqual([]);
  });
});

describe("every source file", () => {
  const sources = readSources();

  it("begins with a comment that says what it is for", () => {
    expect(sources.filter(({ header }) => header === "").map(({ path }) => path)).toEqual([]);
  });

  it("takes no randomness that can be guessed", () => {
    expect(sources.filter(({ text }) => text.includes("Math.random")).map(({ path }) => path)).toEqual([]);
  });
});
