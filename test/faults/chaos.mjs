// @ts-check
/**
 * Chaos: the checker on haproxy, three nodes and Redis with Sentinel or as a Cluster, while nodes and masters are
 * killed, hang and are cut off. Prints a report; ends with 1 when a promise was broken. `npm run chaos` sets up what is
 * missing, then runs it.
 *
 * $ npm run chaos -- --seconds 600 --seed 7 --topology cluster
 * $ npm run chaos -- --durability --topology cluster         # with replicas that confirm, and stalled replication too
 * $ npm run chaos -- --faults "hung master,partition"       # these alone
 * $ npm run chaos -- --replay history.jsonl                 # judges a kept history again
 */
import { createReadStream } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { printReport } from "./chaos/print.mjs";
import { chaos, faultKinds, Judge } from "./chaos/run.mjs";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    topology: { type: "string", default: "sentinel" },
    faults: { type: "string" },
    calm: { type: "string", default: "2000" },
    slack: { type: "string", default: "500" },
    durability: { type: "boolean", default: false },
    history: { type: "string" },
    replay: { type: "string" },
    json: { type: "boolean", default: false },
  },
});

/** @param {string} path */
async function replay(path) {
  /** @type {Judge | undefined} */
  let judge;
  /** @type {import("./checker/model.mjs").Stored[]} */
  let stored = [];
  // Faults are written once they are undone, and the requests in them before: so faults first.
  for (const isFault of [true, false]) {
    for await (const line of createInterface({ input: createReadStream(path) })) {
      const entry = JSON.parse(line);
      if (entry.chaos !== undefined) judge ??= new Judge(entry.chaos);
      else if (entry.fault !== undefined && isFault) judge?.outages.begin(entry.fault)({});
      else if (entry.kind !== undefined && !isFault) judge?.add(entry);
      else if (entry.over !== undefined && !isFault) judge?.endLoad(entry.over);
      else if (entry.stored !== undefined) stored = entry.stored;
    }
  }
  if (judge === undefined) throw new Error(`${path} is no history of a chaos run`);
  return judge.finish(stored);
}

async function run() {
  const { topology, history = join(tmpdir(), `holdfast-chaos-${values.seed}.jsonl`) } = values;
  const asked = values.faults?.split(",");
  const kinds = asked && faultKinds.filter((kind) => asked.includes(kind));
  if (topology !== "sentinel" && topology !== "cluster") throw new Error("--topology is sentinel or cluster");
  if (kinds?.length === 0) throw new Error(`--faults is a list of: ${faultKinds.join(", ")}`);
  const [seconds, seed, calmMs, slackMs] = [values.seconds, values.seed, values.calm, values.slack].map(Number);
  console.log(`seed ${values.seed}, ${seconds} s on Redis ${topology}, history in ${history}`);
  return chaos({
    seconds: Number(seconds),
    seed: Number(seed),
    calmMs: Number(calmMs),
    slackMs: Number(slackMs),
    topology,
    ...(kinds && { kinds }),
    history,
    ...(values.durability && { durability: { replicas: 1, for: "all" } }),
  });
}

const report = await (values.replay === undefined ? run() : replay(values.replay));
if (values.json) console.log(JSON.stringify(report));
else printReport(report);
if (report.violations.length > 0) process.exitCode = 1;
