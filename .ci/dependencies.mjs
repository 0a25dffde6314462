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

/**
 * Installs what the lock file names where it is needed; throws an error that a person can act on where it fails. Not
 * `npm ci`: that refuses a lock file which leaves out optional binaries of platforms that are not this one.
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
  const result = spawnSync(
    command,
    [...first, "install", "--no-save", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"],
    {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  if (result.status !== 0) {
    const said = result.error?.message ?? `${result.stdout}${result.stderr}`.trim();
    throw new Error(
      `The dependencies could not be installed: \`npm install\` failed (${result.status ?? result.signal ?? "not started"}).\n` +
        "Is the npm registry reachable from here? Run the command again once it is.\n" +
        `What npm said:\n${said.split("\n").slice(-12).join("\n")}`,
    );
  }
  console.log(`Installed in ${((performance.now() - started) / 1000).toFixed(0)} s.`);
}
