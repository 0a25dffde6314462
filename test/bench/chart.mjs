// @ts-check
/**
 * The chart of the README: what a session adds to a request's CPU, by framework and route. An SVG as text, of the rows
 * that `report.mjs` made of a run's figures; it measures nothing and rounds only what it prints. Called by `run.mjs`.
 */

/** @typedef {import("./report.mjs").Row} Row */

const series = [
  { variant: "peer", label: "usual session library", className: "peer" },
  { variant: "holdfast", label: "holdfast", className: "ours" },
  { variant: "near-cache", label: "holdfast, near cache", className: "near" },
];

const frameworks = [
  { name: "express", title: "Express", peer: "express-session" },
  { name: "koa", title: "Koa", peer: "koa-session" },
  { name: "fastify", title: "Fastify", peer: "@fastify/session" },
];

const routeLabels = [
  { route: "untouched", label: ["session", "untouched"] },
  { route: "read", label: ["read"] },
  { route: "write", label: ["changed"] },
  { route: "login", label: ["login,", "new id"] },
];

const size = {
  width: 920,
  gutter: 104,
  panel: 240,
  gap: 24,
  top: 124,
  row: 62,
  bar: 13,
  step: 16,
  foot: 58,
  value: 40,
};

const style = `
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
.title { font-size: 18px; font-weight: 600; }
.panel { font-size: 15px; font-weight: 600; }
.muted { fill: #59636e; }
.small { font-size: 11.5px; font-weight: 400; }
.value { font-size: 12px; font-variant-numeric: tabular-nums; }
.ground { fill: #ffffff; stroke: #d1d9e0; }
.axis { stroke: #d1d9e0; }
.peer { fill: #9aa4af; } .ours { fill: #0969da; } .near { fill: #1a7f37; }
.tuned { stroke: #1f2328; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .muted { fill: #9198a1; }
  .ground { fill: #0d1117; stroke: #3d444d; }
  .axis { stroke: #3d444d; }
  .peer { fill: #6e7681; } .ours { fill: #58a6ff; } .near { fill: #3fb950; }
  .tuned { stroke: #e6edf3; }
}`;

/**
 * @param {readonly Row[]} rows
 * @param {{ machine: string, versions: string, settings: string }} about
 * @returns {string} empty where nothing was measured that it could show
 */
export function chart(rows, { machine, versions, settings }) {
  const panels = frameworks.filter(({ name }) => rows.some(({ framework }) => framework === name));
  const routes = routeLabels.filter(({ route }) => rows.some((row) => row.route === route));
  const bars = rows.filter(({ variant }) => series.some((one) => one.variant === variant));
  const longest = Math.max(0, ...bars.map(({ overheadUs }) => overheadUs ?? 0));
  if (longest === 0) return "";
  const perUs = (size.panel - size.value) / longest;
  const bottom = size.top + routes.length * size.row;
  const height = bottom + size.foot;
  const isTuned = rows.some(({ variant }) => variant === "peer-tuned");
  const parts = [
    `<rect class="ground" x="0.5" y="0.5" width="${size.width - 1}" height="${height - 1}" rx="8"/>`,
    text(24, 34, "What a session adds to a request", "title"),
    text(24, 54, "CPU of the server process per request, µs above the bare framework; less is better", "muted"),
    legend(isTuned),
    ...routes.map(({ label }, index) => routeLabel(label, size.top + index * size.row)),
    ...panels.map(({ name, title, peer }, index) => {
      const x = size.gutter + index * (size.panel + size.gap);
      const figures = rows.filter(({ framework }) => framework === name);
      const cells = routes.map(({ route }, place) => {
        const own = figures.filter((row) => row.route === route);
        return cell(own, { x, y: size.top + place * size.row, perUs });
      });
      const heading = `<text x="${x}" y="108" class="panel">${title}<tspan class="muted small" dx="8">${peer} ${versionOf(peer, versions)}</tspan></text>`;
      return `${heading}<path class="axis" d="M${x - 0.5} ${size.top - 6}V${bottom - 10}"/>${cells.join("")}`;
    }),
    text(24, height - 34, machine.replace(/, load [\d.]+ at the start/, ""), "muted small"),
    text(24, height - 16, `medians of ${settings}; npm run bench`, "muted small"),
  ];
  const label = "CPU that a session adds to a request, by framework and route";
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${height}" width="${size.width}" height="${height}" role="img" aria-label="${label}">\n<style>${style}\n</style>\n${parts.join("\n")}\n</svg>\n`;
}

/**
 * The bars of one route of one framework.
 *
 * @param {readonly Row[]} rows
 * @param {{ x: number, y: number, perUs: number }} at
 */
function cell(rows, { x, y, perUs }) {
  const overhead = (/** @type {string} */ name) =>
    rows.find(({ variant }) => variant === name)?.overheadUs ?? undefined;
  const bars = series.map(({ variant, className }, index) => {
    const us = overhead(variant);
    if (us === undefined) return "";
    const length = Math.max(1, us * perUs);
    const top = y + index * size.step;
    const bar = `<rect class="${className}" x="${x}" y="${top}" width="${length.toFixed(1)}" height="${size.bar}" rx="2"/>`;
    return `${bar}${text(x + length + 6, top + 11, us.toFixed(us < 10 ? 1 : 0), "value")}`;
  });
  const tuned = overhead("peer-tuned");
  const mark = tuned === undefined ? "" : tick(x + tuned * perUs, y);
  return bars.join("") + mark;
}

/** @param {boolean} isTuned whether a peer was measured with another Redis client too */
function legend(isTuned) {
  let x = 24;
  const entries = series.map(({ label, className }) => {
    const entry = `<rect class="${className}" x="${x}" y="70" width="13" height="13" rx="2"/>${text(x + 20, 81, label, "")}`;
    x += 46 + label.length * 6.6;
    return entry;
  });
  if (isTuned)
    entries.push(`${tick(x + 4, 70)}${text(x + 14, 81, "that library, its Redis client without command timeout", "")}`);
  return entries.join("");
}

/** @param {number} x @param {number} y */
function tick(x, y) {
  return `<path class="tuned" d="M${x.toFixed(1)} ${y - 1}v${size.bar + 2}"/>`;
}

/** @param {readonly string[]} lines @param {number} y */
function routeLabel(lines, y) {
  return lines.map((line, index) => text(24, y + 12 + index * 16, line, "")).join("");
}

/**
 * @param {number} x
 * @param {number} y
 * @param {string} content
 * @param {string} className
 */
function text(x, y, content, className) {
  const safe = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x.toFixed(1)}" y="${y}"${className && ` class="${className}"`}>${safe}</text>`;
}

/** @param {string} name @param {string} versions `name version, …` */
function versionOf(name, versions) {
  const found = versions.split(", ").find((entry) => entry.startsWith(`${name} `));
  return found?.slice(name.length + 1) ?? "";
}
