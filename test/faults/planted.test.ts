/**
 * The planted bugs fit the sources as they are, and the run that tries them tells a bug that is noticed from one that
 * isn't. All of them are tried by `npm run gates`.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { bugs } from "./planted/bugs.mjs";
import { Copy, edited } from "./planted/plant.mjs";

const root = join(import.meta.dirname, "..", "..");

describe("a planted bug", () => {
  it("has a name of its own", () => {
    expect(new Set(bugs.map(({ name }) => name)).size).toBe(bugs.length);
  });

  it.each(bugs.map((bug) => [bug.name, bug] as const))("%s: fits its source, and has its tests", (_, bug) => {
    for (const edit of bug.edits) {
      const source = readFileSync(join(root, edit.file), "utf8");
      expect(edited(source, edit)).not.toBe(source);
    }
    expect(bug.tests.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  });

  it("for a source that moved on fails loudly", () => {
    const edit = { file: "src/x.ts", find: "a()", replace: "b()" };
    expect(() => edited("c()", edit)).toThrow('src/x.ts: "a()" is no longer there');
    expect(() => edited("a() a()", edit)).toThrow('src/x.ts: "a()" is there more than once');
  });
});

describe("a run with a bug planted", () => {
  const copy = new Copy();
  afterAll(() => copy.remove());
  const tests = ["test/unit/cookie.test.ts"];
  const file = "src/cookie.ts";

  it("tells a bug that a test noticed, one that none did, and one that broke the source", async () => {
    const noticed = bugs.find(({ name }) => name === "an unsigned cookie is accepted");
    expect(await copy.try(noticed ?? { name: "", edits: [], tests })).toMatchObject({ result: "killed" });
    const find = "const maxCandidates = 4;";
    const unnoticed = { name: "as it was", edits: [{ file, find, replace: `${find} ` }], tests };
    expect(await copy.try(unnoticed)).toMatchObject({ result: "survived" });
    const broken = { name: "no source", edits: [{ file, find, replace: "const" }], tests };
    expect(await copy.try(broken)).toMatchObject({ result: "broken" });
  });
});
