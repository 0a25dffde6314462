// @ts-check
/**
 * Failover for as long as asked: rounds of kills, hangs and cuts with Sentinels and as a Cluster, their figures, and the
 * table of the guide, to be pasted. Ends with 1 when a promise was broken: anything lost, a writer that was without for
 * more than 5 s beyond the time after which a master counts as down, or half of the writers whose master was killed for
 * more than 2.5 s, with Sentinels or as a Cluster.
 *
 * $ npm run failover -- --rounds 5 --seed 7
 * $ npm run failover -- --kind cluster --faults hang,hang
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";

/**
 * @typedef {import("./failover-run.mjs").Fault} Fault
 * @typedef {{ redisMs: number[], hitMs: number[] }} Felt what one fault came to, over all rounds
 */

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    kind: { type: "string" },
    faults: { type: "string", default: "kill,hang,cut" },
    history: { type: "string" },
  },
});

const build = join(import.meta.dirname, "..", "..", ".ci", "build.mjs");
if (spawnSync(process.execPath, [build, "--if-needed"], { stdio: "inherit" }).status !== 0) process.exit(1);
const { failover, medianOf } = await import("./failover-run.mjs");

/** What a writer may miss: half of them where the master was killed; any of them, beyond what counts as down. */
const limitMs = { median: 2_500, beyondDown: 5_000 };
const kinds = {
  sentinel: { title: "Sentinel, down-after 500 ms", downMs: 500 },
  cluster: { title: "Cluster, node-timeout 1 s", downMs: 1_000 },
};
const words = { kill: "killed", hang: "hung", cut: "cut off" };

/** "1.7 to 1.9 s, median 1.8" @param {readonly number[]} list ms */
function spread(list) {
  const [low, middle, high] = [Math.min(...list), medianOf(list), Math.max(...list)].map((ms) =>
    (ms / 1000).toFixed(1),
  );
  return `${low === high ? high : `${low} to ${high}`} s, median ${middle}`;
}

/** Rows of the guide's table. @param {string} title @param {ReadonlyMap<Fault, Felt>} byFault */
function rowsOf(title, byFault) {
  return [...byFault].map(([fault, { redisMs, hitMs }], index) => {
    const what = index === 0 ? `${title}: ${words[fault]}` : `… ${words[fault]}`;
    return `| ${what} | ${spread(redisMs)} | ${spread(hitMs)} |`;
  });
}

/** Runs all rounds on one kind of Redis, says how they went, and what was broken. @param {keyof typeof kinds} kind */
async function measure(kind) {
  /** @type {Map<Fault, Felt>} */
  const byFault = new Map();
  let [acknowledged, longestWaitMs] = [0, 0];
  /** @type {string[]} */
  const broken = [];
  for (let round = 0; round < Number(values.rounds); round += 1) {
    const seed = Number(values.seed) + round;
    const faults = /** @type {Fault[]} */ (values.faults.split(","));
    const history = values.history === undefined ? undefined : `${values.history}-${kind}-${seed}.jsonl`;
    const figures = await failover({ kind, faults, seed, revives: true, ...(history && { history }) });
    for (const { fault, redisMs, hitMs, otherMs } of figures.outages) {
      const others = otherMs.length === 0 ? "" : `, other shards ${otherMs.join(" ")}`;
      console.log(`${kind} ${fault}, seed ${seed}: Redis ${redisMs} ms; writers ${hitMs.join(" ")}${others}`);
      const felt = byFault.get(fault) ?? { redisMs: [], hitMs: [] };
      byFault.set(fault, { redisMs: [...felt.redisMs, redisMs], hitMs: [...felt.hitMs, ...hitMs] });
    }
    console.log(`  statuses ${JSON.stringify(figures.statuses)}, longest wait ${figures.longestWaitMs} ms`);
    broken.push(...figures.violations.map(({ kind: what, detail }) => `${what}: ${detail}`));
    acknowledged += figures.acknowledged;
    longestWaitMs = Math.max(longestWaitMs, figures.longestWaitMs);
  }
  const longest = Math.max(...[...byFault.values()].flatMap(({ hitMs }) => hitMs));
  const { title, downMs } = kinds[kind];
  const killed = medianOf(byFault.get("kill")?.hitMs ?? []);
  if (killed > limitMs.median) broken.push(`outage: half of the writers whose master was killed missed ${killed} ms`);
  if (longest > downMs + limitMs.beyondDown) broken.push(`outage: a writer missed ${longest} ms`);
  console.log(
    `${kind}: ${acknowledged} writes acknowledged, ${broken.length} promises broken, longest wait ${longestWaitMs} ms`,
  );
  for (const what of broken.slice(0, 40)) console.log(`  BROKEN ${what}`);
  if (broken.length > 0) process.exitCode = 1;
  return rowsOf(title, byFault);
}

/** @type {string[]} */
const rows = [];
for (const kind of /** @type {const} */ (["sentinel", "cluster"])) {
  if (values.kind === undefined || values.kind === kind) rows.push(...(await measure(kind)));
}
console.log(`\n| | Redis replaced its master in | writers wrote nothing for |\n|---|---|---|\n${rows.join("\n")}`);
