// @ts-check
/** `npm run chaos`: sets up what is missing, then runs the chaos with the arguments given. */
import { join } from "node:path";
import { root } from "./dependencies.mjs";
import { handOver, prepare } from "./prepare.mjs";
import { servers } from "./servers.mjs";

const needed = ["redis-server", "redis-sentinel", "haproxy"];
prepare(servers.filter(({ command }) => needed.includes(command)));
handOver(join(root, "test", "faults", "chaos.mjs"), process.argv.slice(2));
