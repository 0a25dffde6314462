/** The pages of `.github/guide`: their code compiles. Their links are checked with all others, in `readme.test.ts`. */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, it } from "vitest";
import { type CodeBlock, codeBlocks, root, typeErrors } from "./code-blocks.ts";

const folder = join(root, ".github", "guide");

it("the code of the guide compiles", async () => {
  const blocks = readdirSync(folder).flatMap((file): CodeBlock[] => {
    const ofPage = codeBlocks(readFileSync(join(folder, file), "utf8"));
    const code = ofPage.filter(({ language }) => language === "ts" || language === "js");
    return code.map((block) => ({ ...block, page: basename(file, ".md") }));
  });
  expect(new Set(blocks.map(({ page }) => page)).size).toBeGreaterThan(3);
  expect(await typeErrors(blocks)).toBe("");
});
