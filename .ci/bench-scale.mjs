// @ts-check
/** `npm run bench:scale`: sets up what is missing, then measures what many sessions cost, with the arguments given. */
import { join } from "node:path";
import { root } from "./dependencies.mjs";
import { handOver, prepare } from "./prepare.mjs";
import { servers } from "./servers.mjs";

prepare(servers.filter(({ command }) => command === "redis-server"));
handOver("--expose-gc", [join(root, "test", "bench", "scale.mjs"), ...process.argv.slice(2)]);
