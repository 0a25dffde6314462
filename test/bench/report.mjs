// @ts-check
/**
 * From the rounds' raw figures to medians, ratios and tables that read well in a terminal and are Markdown too.
 * It measures nothing. Called by `run.mjs`; the chart is drawn in `chart.mjs`.
 */

/**
 * One measurement of one cell.
 *
 * @typedef {object} Sample
 * @property {number} requestsPerSecond
 * @property {number} cpuUs server CPU per request
 * @property {number} p99Ms
 * @property {number} redisCpuUs Redis's CPU per request
 */

/**
 * All measurements of one route of one framework: the samples of round `i` stand at index `i` of each variant.
 *
 * @typedef {object} Group
 * @property {string} framework
 * @property {string} route
 * @property {Record<string, Sample[]>} samples by variant
 * @property {Record<string, { total: number, byName: Record<string, number> }>} commands by variant
 */

/**
 * One line of the table.
 *
 * @typedef {object} Row
 * @property {string} framework
 * @property {string} route
 * @property {string} variant
 * @property {number} requestsPerSecond
 * @property {number | null} ofBare requests a second as a share of the bare framework's; `null` where that was not run
 * @property {number} cpuUs
 * @property {number | null} overheadUs what the session adds to the bare framework's server CPU per request
 * @property {number} p99Ms
 * @property {number} redisCpuUs
 * @property {number} commands
 * @property {Record<string, number>} commandsByName
 * @property {Record<string, Ratio | null>} ratios by the variant compared with: (this − bare) / (that − bare) of server
 *   CPU per request; `null` where that one cost no more than the bare framework in some round
 */

/** @typedef {{ median: number, min: number, max: number }} Ratio of paired rounds */

const opponents = ["peer", "peer-tuned"];

/**
 * @param {Group} group
 * @returns {Row[]}
 */
export function rowsOf({ framework, route, samples, commands }) {
  return Object.entries(samples).map(([variant, rounds]) => ({
    framework,
    route,
    variant,
    requestsPerSecond: median(rounds.map((round) => round.requestsPerSecond)),
    ofBare: paired(rounds, samples["bare"], (ours, bare) => ours.requestsPerSecond / bare.requestsPerSecond),
    cpuUs: median(rounds.map((round) => round.cpuUs)),
    overheadUs: paired(rounds, samples["bare"], (ours, bare) => ours.cpuUs - bare.cpuUs),
    p99Ms: median(rounds.map((round) => round.p99Ms)),
    redisCpuUs: median(rounds.map((round) => round.redisCpuUs)),
    commands: commands[variant]?.total ?? 0,
    commandsByName: commands[variant]?.byName ?? {},
    ratios: variant === "bare" || opponents.includes(variant) ? {} : ratiosOf(rounds, samples),
  }));
}

/**
 * The median of what two variants give together in each round.
 *
 * @param {Sample[]} ours
 * @param {Sample[] | undefined} theirs
 * @param {(ours: Sample, theirs: Sample) => number} compare
 */
function paired(ours, theirs, compare) {
  const values = ours.flatMap((sample, round) => {
    const other = theirs?.[round];
    return other === undefined ? [] : [compare(sample, other)];
  });
  return values.length === 0 ? null : median(values);
}

/**
 * @param {Sample[]} ours
 * @param {Record<string, Sample[]>} samples
 */
function ratiosOf(ours, samples) {
  const measured = opponents.filter((name) => samples[name] !== undefined && samples["bare"] !== undefined);
  return Object.fromEntries(measured.map((name) => [name, ratioOf(ours, samples["bare"], samples[name])]));
}

/**
 * @param {Sample[]} ours
 * @param {Sample[]} [bare]
 * @param {Sample[]} [theirs]
 * @returns {Ratio | null}
 */
function ratioOf(ours, bare = [], theirs = []) {
  /** @type {number[]} */
  const ratios = [];
  for (const [round, { cpuUs }] of ours.entries()) {
    const [base, other] = [bare[round]?.cpuUs, theirs[round]?.cpuUs];
    if (base === undefined || other === undefined || other <= base) return null;
    ratios.push((cpuUs - base) / (other - base));
  }
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) };
}

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? Number.NaN;
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? Number.NaN) + upper) / 2 : upper;
}

const columns = [
  "framework",
  "route",
  "variant",
  "req/s",
  "of bare",
  "CPU µs/req",
  "p99 ms",
  "Redis µs/req",
  "Redis commands/req",
  "overhead / peer's (min–max)",
  "/ tuned peer's",
];
const leftAligned = new Set(["client", "framework", "route", "variant", "Redis commands/req"]);

/**
 * The table of what a request costs, its lines joined.
 *
 * @param {Row[]} rows
 * @param {Record<string, string>} labels what to print for a route
 */
export function table(rows, labels) {
  const cells = rows.map((row) => [
    row.framework,
    labels[row.route] ?? row.route,
    row.variant,
    row.requestsPerSecond.toFixed(0),
    row.ofBare === null ? "" : `${(row.ofBare * 100).toFixed(0)} %`,
    row.cpuUs.toFixed(1),
    row.p99Ms.toFixed(2),
    row.redisCpuUs.toFixed(1),
    commandText(row),
    ...opponents.map((name) => ratioText(row.ratios[name])),
  ]);
  return layOut(columns, cells);
}

/**
 * The table of latencies.
 *
 * @param {import("./network.mjs").Latency[]} latencies
 */
export function latencyTable(latencies) {
  const cells = latencies.map(({ framework, route, variant, p50Ms, p99Ms }) => {
    const bare = latencies.find((row) => row.framework === framework && row.route === route && row.variant === "bare");
    const added = bare === undefined || variant === "bare" ? "" : (p50Ms - bare.p50Ms).toFixed(2);
    return [framework, route, variant, p50Ms.toFixed(2), p99Ms.toFixed(2), added];
  });
  return layOut(["framework", "route", "variant", "p50 ms", "p99 ms", "p50 above bare"], cells);
}

/**
 * @param {string[]} names of the columns
 * @param {string[][]} cells
 */
export function layOut(names, cells) {
  const widths = names.map((name, column) => Math.max(name.length, ...cells.map((line) => line[column]?.length ?? 0)));
  const left = names.map((name) => leftAligned.has(name));
  /** @param {string[]} line */
  const format = (line) => {
    const padded = line.map((cell, column) => {
      const width = widths[column] ?? 0;
      return left[column] ? cell.padEnd(width) : cell.padStart(width);
    });
    return `| ${padded.join(" | ")} |`;
  };
  const rule = widths.map((width, column) => (left[column] ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [format(names), format(rule), ...cells.map(format)].join("\n");
}

/**
 * What is sent, and by which names.
 *
 * @param {{ commands: number, commandsByName: Record<string, number> }} counts
 */
export function commandText({ commands, commandsByName }) {
  const names = Object.entries(commandsByName).map(([name, calls]) =>
    calls === 1 ? name : `${Number(calls.toFixed(2))} ${name}`,
  );
  return names.length === 0 ? commands.toFixed(2) : `${commands.toFixed(2)} (${names.join(", ")})`;
}

/** @param {Ratio | null | undefined} ratio */
function ratioText(ratio) {
  if (ratio === undefined) return "";
  if (ratio === null) return "peer within noise";
  return `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)})`;
}
