// @ts-check
/** `npm run bench:clients`: sets up what is missing, then measures Redis clients and their settings, with the arguments given. */
import { join } from "node:path";
import { root } from "./dependencies.mjs";
import { handOver, prepare } from "./prepare.mjs";
import { servers } from "./servers.mjs";

prepare(servers.filter(({ command }) => command === "redis-server"));
handOver(join(root, "test", "bench", "clients.mjs"), process.argv.slice(2));
