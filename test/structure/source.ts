/**
 * The package's sources as the structure tests see them: who imports what, and how long things are. Reads real syntax
 * trees, so that type imports, `import("…")` types and re-exports count, and text in comments doesn't. Judges nothing.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative, sep } from "node:path";
import { parseAst } from "vitest/node";

/** The repository's root. */
export const root: string = join(import.meta.dirname, "..", "..");

/** One function and where it stands. */
export interface FunctionSpan {
  /** `file:line`, to go there. */
  readonly at: string;
  readonly lines: number;
}

/** What the tests judge of one file. */
export interface SourceFile {
  /** From the root, with slashes: `src/stores/redis.ts`. */
  readonly path: string;
  readonly text: string;
  readonly lines: number;
  /** The comment at its top; empty where there is none. */
  readonly header: string;
  /** Imported files as paths from the root, packages by their names, `<computed>` for a dynamic import of no literal. */
  readonly imports: readonly string[];
  readonly functions: readonly FunctionSpan[];
}

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}

/** Calls `visit` with a node and everything below it. */
function walk(node: Node, visit: (node: Node) => void): void {
  visit(node);
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) walk(child, visit);
  }
}

const importing = new Set([
  "ImportDeclaration",
  "ExportNamedDeclaration",
  "ExportAllDeclaration",
  "ImportExpression",
  "TSImportType",
  "TSExternalModuleReference",
]);

const functional = new Set(["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"]);

/** What a node imports from; `undefined`: nothing. */
function specifierOf(node: Node): string | undefined {
  if (!importing.has(node.type)) return undefined;
  const from = "source" in node ? node.source : "expression" in node ? node.expression : undefined;
  if (from === undefined || from === null) return undefined; // `export const x` has no source
  return isNode(from) && "value" in from && typeof from.value === "string" ? from.value : "<computed>";
}

/** The package of a bare specifier: `ioredis/built/x` is `ioredis`; `node:http` stays. */
function packageOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

/** One file, from its text. */
export function parseSource(path: string, text: string): SourceFile {
  const imports = new Set<string>();
  const functions: FunctionSpan[] = [];
  const lineOf = (offset: number): number => text.slice(0, offset).split("\n").length;
  walk(parseAst(text, { lang: "ts" }, path), (node) => {
    const specifier = specifierOf(node);
    if (specifier?.startsWith(".")) imports.add(posix.join(dirname(path), specifier));
    else if (specifier !== undefined) imports.add(packageOf(specifier));
    if (functional.has(node.type)) {
      const first = lineOf(node.start);
      functions.push({ at: `${path}:${first}`, lines: lineOf(node.end) - first + 1 });
    }
  });
  return {
    path,
    text,
    lines: text.replace(/\n$/, "").split("\n").length,
    header: /^\s*\/\*\*[\s\S]*?\*\//.exec(text)?.[0] ?? "",
    imports: [...imports],
    functions,
  };
}

/** All files of `src/` and `adapters/`. */
export function readSources(): SourceFile[] {
  return ["src", "adapters"]
    .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => parseSource(relative(root, file).split(sep).join("/"), readFileSync(file, "utf8")));
}
