// @ts-check
/** `npm run gates`: sets up what is missing, then runs the gates of `test/faults/gates.mjs` with the arguments given. */
import { join } from "node:path";
import { root } from "./dependencies.mjs";
import { handOver, prepare } from "./prepare.mjs";
import { servers } from "./servers.mjs";

prepare(servers);
handOver(join(root, "test", "faults", "gates.mjs"), process.argv.slice(2));
