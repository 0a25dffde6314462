// @ts-check
/**
 * Builds `dist/` with plain tsc: `npm run build`. With `--if-needed`, and for `ensureBuilt()`, only when the sources
 * differ from those that `dist/` was built from. Files in use are replaced one by one, never all removed first, so that
 * a process that runs from `dist/` meanwhile goes on.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { ensureDependencies, root } from "./dependencies.mjs";

const dist = join(root, "dist");
/** Names the sources that `dist/` was built from; left out of the package. */
const stamp = join(dist, ".built-from");
const project = join(root, ".ci", "tsconfig.build.json");

/** @param {string} folder */
function filesIn(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** @returns {string} a hash over everything that decides what the build makes */
function fingerprint() {
  const hash = createHash("sha256");
  const files = ["src", "adapters"].flatMap((folder) => filesIn(join(root, folder)));
  for (const file of [...files, project, join(root, "tsconfig.json"), join(root, "package.json")]) {
    hash.update(`${relative(root, file)}\n`).update(readFileSync(file));
  }
  return hash.digest("hex");
}

/** Builds, whatever there is. Throws with tsc's words when a source is wrong; `dist/` stays as it was then. */
export function build() {
  const made = fingerprint();
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const result = spawnSync(process.execPath, [tsc, "-p", project, "--listEmittedFiles"], {
    cwd: root,
    encoding: "utf8",
  });
  if (result.status !== 0) throw new Error(`The build failed.\n${result.stdout}${result.stderr}`.trim());
  const emitted = new Set(
    [...result.stdout.matchAll(/^TSFILE: (.+)$/gm)].map(([, path = ""]) => resolve(root, path.trim())),
  );
  mkdirSync(dist, { recursive: true });
  for (const file of filesIn(dist)) if (!emitted.has(file)) rmSync(file);
  writeFileSync(stamp, made);
}

/** Builds unless `dist/` is up to date. */
export function ensureBuilt() {
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === fingerprint()) return;
  build();
}

if (process.argv[1] === import.meta.filename) {
  try {
    ensureDependencies();
    if (process.argv.includes("--if-needed")) ensureBuilt();
    else build();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
