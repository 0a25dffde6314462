// @ts-check
/** `npm run bench`: sets up what is missing, then runs the benchmark with the arguments given. */
import { join } from "node:path";
import { root } from "./dependencies.mjs";
import { handOver, prepare } from "./prepare.mjs";
import { servers } from "./servers.mjs";

prepare(servers.filter(({ command }) => command === "redis-server"));
handOver(join(root, "test", "bench", "run.mjs"), process.argv.slice(2));
