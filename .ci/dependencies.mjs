// @ts-check
/**
 * Makes sure that `node_modules` holds what the lock file says. It uses Node's own modules only, as it runs before
 * there are any others. Called by `start.mjs`, `test.mjs`, `bench.mjs` and `build.mjs`.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

/** The repository's root. */
export const root = join(import.meta.dirname ?? "", "..");

/** @typedef {{ version?: string, optional?: boolean, peer?: boolean, link?: boolean }} LockedPackage */

/**
 * What the lock file names and the tree lacks, or has in another version. Optional packages (those for another
 * platform, mostly) may be absent.
 * @param {Record<string, LockedPackage>} locked `packages` of package-lock.json
 * @param {Record<string, LockedPackage>} installed `packages` of node_modules/.package-lock.json
 * @returns {string[]} their paths in the tree, `node_modules/ms`
 */
export function outdatedPackages(locked, installed) {
  return Object.entries(locked)
    .filter(([path, { version, optional }]) => {
      const found = installed[path];
      return path !== "" && (found ? found.version !== version : !optional);
    })
    .map(([path]) => path);
}

/**
 * @param {string} path
 * @returns {Record<string, LockedPackage>} none when there is no such file
 */
function packagesOf(path) {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")).packages : {};
}

/** How npm is run: by the very npm that runs this script, where one does. */
function npm() {
  const cli = process.env.npm_execpath;
  return cli && basename(cli) === "npm-cli.js"
    ? { command: process.execPath, first: [cli] }
    : { command: process.platform === "win32" ? "npm.cmd" : "npm", first: [] };
}

const unfit = "package-lock.json does not fit package.json: run `npm install` once, and commit both.";
const unreachable = "Is the npm registry reachable from here? Run the command again once it is.";

/** The first and the last lines: npm names the error first, a package's own script says last why it failed. @param {string} text */
function bothEnds(text) {
  const lines = text.split("\n");
  return (lines.length > 16 ? [...lines.slice(0, 8), "…", ...lines.slice(-8)] : lines).join("\n");
}

/**
 * Installs what the lock file names where something is missing or outdated; throws an error that a person can act on
 * where it fails. `npm ci` puts exactly that into an empty `node_modules`, and refuses a lock file that does not fit
 * `package.json`, or leaves out another platform's binaries.
 */
export function ensureDependencies() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    throw new Error(`holdfast needs Node 20.19 or newer; this is ${process.versions.node}.`);
  }
  const locked = packagesOf(join(root, "package-lock.json"));
  const installed = packagesOf(join(root, "node_modules", ".package-lock.json"));
  if (outdatedPackages(locked, installed).length === 0) return;

  console.log("Installing dependencies from the lock file …");
  const started = performance.now();
  const { command, first } = npm();
  const result = spawnSync(command, [...first, "ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (result.status !== 0) {
    const said = result.error?.message ?? `${result.stdout}${result.stderr}`.trim();
    throw new Error(
      `The dependencies could not be installed: \`npm ci\` failed (${result.status ?? result.signal ?? "not started"}).\n` +
        `${/\bEUSAGE\b/.test(said) ? unfit : unreachable}\nWhat npm said:\n${bothEnds(said)}`,
    );
  }
  console.log(`Installed in ${((performance.now() - started) / 1000).toFixed(0)} s.`);
}
