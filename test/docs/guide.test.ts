/** Pages of `.github/guide` whose code is whole: it compiles. Their links are checked with all others, in `readme.test.ts`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { codeBlocks, root, typeErrors } from "./code-blocks.ts";

const folder = join(root, ".github", "guide");

it.each(["security.md"])(
  "the code of %s compiles",
  async (file) => {
    const blocks = codeBlocks(readFileSync(join(folder, file), "utf8"));
    expect(await typeErrors(blocks.filter(({ language }) => language === "ts" || language === "js"))).toBe("");
  },
  60_000,
);
