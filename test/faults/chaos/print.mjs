// @ts-check
/** The report of a chaos run for people. Called by `chaos.mjs`. */

/** What each kind of violation breaks, in the words of the promise. */
const promises = [
  ["lost", "acknowledged writes lost, or sessions"],
  ["back", "sessions resurrected"],
  ["foreign", "answers with another's session"],
  ["double", "updates done twice"],
  ["no-ttl", "keys without TTL"],
  ["weak-id", "ids that are no secret"],
  ["error", "answers that nothing explains"],
  ["hang", "requests beyond storeTimeout and slack"],
  ["outage", "outages beyond what is promised"],
  ["died", "processes that ended by themselves"],
];

/**
 * A table with its columns aligned: the first to the left, numbers to the right.
 * @param {string[]} head
 * @param {(string | number)[][]} rows
 */
function table(head, rows) {
  const lines = [head, ...rows.map((row) => row.map(String))];
  const widths = head.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  for (const line of lines) {
    const cells = line.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)));
    console.log(`  ${cells.join("  ")}`);
  }
}

/** @param {import("./run.mjs").ChaosReport} report */
export function printReport(report) {
  const { seed, topology, seconds, operations, keys, byKind, errors, phases, outages, lackedBytes, violations } =
    report;
  console.log(`\n${operations} operations in ${seconds} s on Redis ${topology}, seed ${seed}; ${keys} records left`);
  console.log(
    Object.entries(byKind)
      .map(([kind, counts]) => `${kind} ${JSON.stringify(counts)}`)
      .join("  "),
  );

  console.log("\nrequests by phase, ms");
  table(
    ["", "requests", "answered", "unknown", "p50", "p99", "max"],
    Object.entries(phases).map(([phase, { operations: all, ok, unknown, p50, p99, max }]) => {
      return [phase, all, ok, unknown, p50, p99, max];
    }),
  );
  console.log("\nhow long a writer got no write through, ms");
  table(
    ["", "faults", "felt", "writers", "median", "max"],
    Object.entries(outages).map(([phase, { faults, felt, writers, medianMs, maxMs }]) => {
      return [phase, faults, felt, writers, medianMs, maxMs];
    }),
  );
  console.log("\nerrors by kind");
  for (const [kind, count] of Object.entries(errors)) console.log(`  ${count} × ${kind}`);
  if (Object.keys(errors).length === 0) console.log("  none");
  if (lackedBytes.length > 0)
    console.log(`\nbytes that no replica had when its master died: ${lackedBytes.join(", ")}`);

  console.log("\npromises");
  for (const [kind, words] of promises) {
    console.log(`  ${violations.filter((violation) => violation.kind === kind).length} ${words}`);
  }
  for (const { kind, detail } of violations.slice(0, 40)) console.log(`  BROKEN ${kind}: ${detail}`);
}
