// @ts-check
/** `npm start`: sets up what is missing, then runs the demo in this very process. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "./dependencies.mjs";
import { prepare } from "./prepare.mjs";

prepare([]);

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
if (process.env.npm_lifecycle_event === "start") {
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    process.kill(process.pid, "SIGTERM");
  }, 200);
  watch.unref();
}

const demo = join(root, "examples", "demo", "index.js");
process.argv[1] = demo; // so that the demo sees that it is the program
await import(pathToFileURL(demo).href);
