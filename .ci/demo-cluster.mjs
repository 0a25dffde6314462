// @ts-check
/** `npm run demo:cluster`: sets up what is missing, then runs the cluster's demo in this very process. */
import { join } from "node:path";
import { root } from "./dependencies.mjs";
import { prepare, runHere } from "./prepare.mjs";
import { servers } from "./servers.mjs";

const needed = ["redis-server", "redis-sentinel", "haproxy"];
prepare(servers.filter(({ command }) => needed.includes(command)));
await runHere(join(root, "examples", "cluster", "demo.mjs"));
