// @ts-check
/**
 * The programs beside Node that the tests and the benchmark start themselves: a real Redis, a real browser, real load
 * balancers. Installs the missing ones from Debian's packages. Starts none of them. To add one, add a line to `servers`.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** @typedef {{ command: string, package: string }} Server a program and the Debian package that holds it */

/** @type {Server[]} */
export const servers = [
  { command: "redis-server", package: "redis-server" },
  { command: "redis-sentinel", package: "redis-sentinel" },
  { command: "chromium", package: "chromium" },
  { command: "haproxy", package: "haproxy" },
  { command: "nginx", package: "nginx" },
  { command: "openssl", package: "openssl" },
];

/**
 * @param {string} command
 * @param {string} path as in `PATH`
 * @returns {boolean} whether such a program is there
 */
export function isThere(command, path = process.env.PATH ?? "") {
  return path.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return folder !== "";
    } catch {
      return false;
    }
  });
}

/**
 * @param {Server[]} missing
 * @returns {string} what a person has to do where this script can't
 */
export function advice(missing) {
  const names = missing.map(({ command }) => command).join(", ");
  const packages = missing.map((server) => server.package).join(" ");
  return (
    `Missing: ${names}. The tests run against the real programs, so please install them.\n` +
    `  Debian, Ubuntu: sudo apt-get update && sudo apt-get install -y ${packages}\n` +
    "  elsewhere: with the system's package manager, so that each of these names is on the PATH"
  );
}

/**
 * Root may install, and so may who needs no password for it.
 * @returns {string[] | undefined} what to put before `apt-get`; `undefined`: it can't be used
 */
function installer() {
  if (!isThere("apt-get")) return undefined;
  if (process.getuid?.() === 0) return [];
  const sudo = ["sudo", "-n"];
  return isThere("sudo") && spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0 ? sudo : undefined;
}

/**
 * Installs what is missing, or throws with `advice`.
 * @param {Server[]} wanted
 */
export function ensureServers(wanted = servers) {
  const missing = wanted.filter(({ command }) => !isThere(command));
  if (missing.length === 0) return;
  const before = installer();
  if (!before) throw new Error(advice(missing));

  const packages = missing.map((server) => server.package);
  console.log(`Installing ${packages.join(", ")} (apt-get) …`);
  const started = performance.now();
  for (const step of [["update"], ["install", "-y", "--no-install-recommends", ...packages]]) {
    // sudo drops the environment, so `env` sets it behind sudo.
    const line = [
      ...before,
      "env",
      "DEBIAN_FRONTEND=noninteractive",
      "apt-get",
      "-qq",
      "-o",
      "DPkg::Lock::Timeout=120",
    ];
    const [command = "", ...args] = [...line, ...step];
    const result = spawnSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    // An update that reached only some of its sources may do: the install decides.
    if (result.status !== 0 && step[0] === "install") {
      const said = `${result.stdout}${result.stderr}`.trim().split("\n").slice(-8).join("\n");
      throw new Error(`apt-get could not install ${packages.join(", ")}:\n${said}\n${advice(missing)}`);
    }
  }
  const still = missing.filter(({ command }) => !isThere(command));
  if (still.length > 0) throw new Error(advice(still));
  console.log(`Installed in ${((performance.now() - started) / 1000).toFixed(0)} s.`);
}
