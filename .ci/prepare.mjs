// @ts-check
/** What `npm start`, `npm test` and the like have in common: the set-up, and handing over to a program. */
import { spawn } from "node:child_process";
import { delimiter } from "node:path";
import { pathToFileURL } from "node:url";
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

/**
 * Runs a demo in this very process, so that it ends as its terminal, npm or Ctrl-C says.
 * @param {string} script ends cleanly on the first SIGINT or SIGTERM
 */
export async function runHere(script) {
  // On Ctrl-C the terminal signals this process and npm, and npm passes its own on: the second one must not kill the
  // demo while it ends cleanly after the first.
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) {
    process.once(signal, () => {
      if (process.listenerCount(signal) === 0) process.exit(0);
      process.on(signal, () => {});
    });
  }

  // SIGTERM to npm alone ends npm and the shell between it and this process, which hears nothing of it but loses its
  // parent: that ends the demo too, in its own way.
  if (process.env.npm_lifecycle_event !== undefined) {
    const parent = process.ppid;
    const watch = setInterval(() => {
      if (process.ppid === parent) return;
      clearInterval(watch);
      process.kill(process.pid, "SIGTERM");
    }, 200);
    watch.unref();
  }

  process.argv[1] = script; // so that the demo sees that it is the program
  await import(pathToFileURL(script).href);
}
