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

const demo = join(root, "examples", "demo", "index.js");
process.argv[1] = demo; // so that the demo sees that it is the program
await import(pathToFileURL(demo).href);
