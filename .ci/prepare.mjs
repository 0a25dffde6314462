// @ts-check
/** What `npm start`, `npm test` and `npm run bench` have in common: the set-up, and handing over to a program. */
import { spawn } from "node:child_process";
import { delimiter } from "node:path";
import { ensureBuilt } from "./build.mjs";
import { ensureDependencies, root } from "./dependencies.mjs";
import { ensureServers } from "./servers.mjs";

/**
 * Sets up what is missing. Where that fails it says why in plain words, and the process ends with 1.
 * @param {import("./servers.mjs").Server[]} servers the programs beside Node that are needed
 */
export function prepare(servers) {
  // Debian keeps servers in a folder that is not on every user's PATH.
  process.env.PATH = [process.env.PATH, "/usr/sbin"].join(delimiter);
  try {
    ensureDependencies();
    ensureServers(servers);
    ensureBuilt();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  }
}

/**
 * Runs a script in the terminal of this process, which ends as that one does.
 * @param {string} script
 * @param {string[]} args
 */
export function handOver(script, args) {
  const child = spawn(process.execPath, [script, ...args], { cwd: root, stdio: "inherit" });
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  process.on("SIGINT", () => {}); // the terminal sends it to the child too, which ends what it started
  child.on("exit", (code) => {
    process.exitCode = code ?? 1;
  });
}
