// @ts-check
/**
 * Failover for as long as asked: rounds of kills, hangs and cuts with Sentinels and as a Cluster, and their figures.
 * Ends with 1 when a promise was broken.
 *
 * $ npm run failover -- --rounds 5 --seed 7
 * $ npm run failover -- --kind cluster --faults hang,hang
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";

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

/** How long writers were out where their master was killed, of both kinds. @type {number[]} */
const killed = [];
const downAfterMs = { sentinel: 500, cluster: 1_000 };
for (const kind of /** @type {const} */ (["sentinel", "cluster"])) {
  if (values.kind !== undefined && values.kind !== kind) continue;
  /** @type {number[]} */
  const hit = [];
  let acknowledged = 0;
  let longestWaitMs = 0;
  let violations = 0;
  for (let round = 0; round < Number(values.rounds); round += 1) {
    const seed = Number(values.seed) + round;
    const faults = /** @type {import("./failover-run.mjs").Fault[]} */ (values.faults.split(","));
    const history = values.history === undefined ? undefined : `${values.history}-${kind}-${seed}.jsonl`;
    const figures = await failover({ kind, faults, seed, revives: true, ...(history && { history }) });
    for (const { fault, redisMs, hitMs, otherMs } of figures.outages) {
      const others = otherMs.length === 0 ? "" : `, other shards ${otherMs.join(" ")}`;
      console.log(`${kind} ${fault}, seed ${seed}: Redis ${redisMs} ms; writers ${hitMs.join(" ")}${others}`);
      hit.push(...hitMs);
      if (fault === "kill") killed.push(...hitMs);
    }
    console.log(`  statuses ${JSON.stringify(figures.statuses)}, longest wait ${figures.longestWaitMs} ms`);
    for (const { kind: what, detail } of figures.violations.slice(0, 20)) console.log(`  ${what}: ${detail}`);
    acknowledged += figures.acknowledged;
    violations += figures.violations.length;
    longestWaitMs = Math.max(longestWaitMs, figures.longestWaitMs);
  }
  const longest = Math.max(...hit);
  console.log(
    `${kind}: ${acknowledged} writes acknowledged, ${violations} promises broken; writers out for ${medianOf(hit)} ms (median), ${longest} ms (longest); longest wait ${longestWaitMs} ms`,
  );
  if (violations > 0 || longest > downAfterMs[kind] + 5_000) process.exitCode = 1;
}
if (killed.length > 0) {
  console.log(`writers whose master was killed were out for ${medianOf(killed)} ms (median of ${killed.length})`);
  if (medianOf(killed) > 2_500) process.exitCode = 1;
}
