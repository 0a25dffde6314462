// @ts-check
/** `npm test`: sets up what is missing, then runs vitest. `npm test -- test/unit` passes its arguments on. */
import { join } from "node:path";
import { root } from "./dependencies.mjs";
import { handOver, prepare } from "./prepare.mjs";
import { servers } from "./servers.mjs";

prepare(servers);
handOver(join(root, "node_modules", "vitest", "vitest.mjs"), ["run", ...process.argv.slice(2)]);
