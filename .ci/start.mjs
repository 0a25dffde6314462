// @ts-check
/** `npm start`: sets up what is missing, then runs the demo in this very process. */
import { join } from "node:path";
import { root } from "./dependencies.mjs";
import { prepare, runHere } from "./prepare.mjs";

prepare([]);
await runHere(join(root, "examples", "demo", "index.js"));
