/**
 * The code blocks of a Markdown file, as a reader would copy them: extracted, type-checked against the sources, and
 * laid out so that Node runs them on the built package. Called by the tests of the documentation.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root. */
export const root: string = fileURLToPath(new URL("../..", import.meta.url));

/** A fenced block of code. */
export interface CodeBlock {
  language: string;
  /** The number of its first line of code in the file, from 1. */
  line: number;
  code: string;
  /** Its page, where blocks of several are checked together: `page-block-at-line-7.ts`. */
  page?: string;
}

/** All fenced blocks of a text. */
export function codeBlocks(markdown: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let open: { language: string; line: number; lines: string[] } | undefined;
  for (const [index, line] of markdown.split("\n").entries()) {
    const fence = /^```(\w*)/.exec(line);
    if (open === undefined) {
      if (fence) open = { language: fence[1] ?? "", line: index + 2, lines: [] };
    } else if (fence) {
      blocks.push({ language: open.language, line: open.line, code: open.lines.join("\n") });
      open = undefined;
    } else open.lines.push(line);
  }
  return blocks;
}

/** What the fragments take for granted: names that the text before them has introduced. */
const givens = `
import type { Application } from "express";
import type { Session, SessionData, Sessions, Store } from "holdfast";
import type fastifyPassportOf from "@fastify/passport";
interface Account { id: string }
declare global {
  type User = Account;
  const app: Application;
  const store: Store;
  const sessions: Sessions;
  const id: string;
  const log: { warn(what: object, text: string): void; error(what: object, text: string): void };
  const fastifyPassport: typeof fastifyPassportOf;
  function authenticate(body: unknown): Promise<Account>;
  function findUser(id: string): Promise<Account | false>;
  function myStore(now: () => number): Store;
}
`;

/** A folder that is removed by `end`, with the packages of the repository, and holdfast itself, to import. */
export async function workFolder(): Promise<{ path: string; end(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "holdfast-docs-"));
  await writeFile(join(path, "package.json"), JSON.stringify({ type: "module", private: true }));
  return { path, end: () => rm(path, { recursive: true, force: true }) };
}

/** Type-checks blocks together, as one program. Resolves to tsc's complaints; their line numbers are the file's. */
export async function typeErrors(blocks: readonly CodeBlock[]): Promise<string> {
  const { path, end } = await workFolder();
  try {
    await symlink(join(root, "node_modules"), join(path, "node_modules"));
    const settings = {
      extends: join(root, "tsconfig.json"),
      compilerOptions: { noUnusedLocals: false, noUnusedParameters: false, typeRoots: ["node_modules/@types"] },
      include: ["*.ts"],
    };
    await writeFile(join(path, "tsconfig.json"), JSON.stringify(settings));
    await writeFile(join(path, "givens.ts"), givens);
    for (const { line, code, page } of blocks) {
      // A block of its own, whatever the others declare; and at its own line.
      const text = `${"\n".repeat(line - 1)}${code}\nexport {};\n`;
      const name = `block-at-line-${line}.ts`;
      await writeFile(join(path, page === undefined ? name : `${page}-${name}`), text);
    }
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
    return await output(path, process.execPath, [tsc, "--pretty", "false"]);
  } finally {
    await end();
  }
}

/** Writes blocks as scripts for Node into a folder where they find holdfast, built, and the packages named. */
export async function asScripts(folder: string, blocks: readonly CodeBlock[], packages: string[]): Promise<string[]> {
  const modules = join(folder, "node_modules");
  await mkdir(modules);
  await symlink(root, join(modules, "holdfast"));
  for (const name of packages) await symlink(join(root, "node_modules", name), join(modules, name));
  const paths = blocks.map(({ line }) => join(folder, `block-at-line-${line}.js`));
  await Promise.all(paths.map((path, index) => writeFile(path, blocks[index]?.code ?? "")));
  return paths;
}

/** What a program says, whether it fails or not. */
function output(cwd: string, command: string, args: string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(command, args, { cwd }, (error, stdout, stderr) => {
      resolve(`${stdout}${stderr}`.trim() || (error === null ? "" : error.message));
    });
  });
}
