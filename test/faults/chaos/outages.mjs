// @ts-check
/**
 * What the clients of a chaos run felt: how long requests took by phase, and how long each writer was without an
 * acknowledged write. It takes entries and faults as they come; called by `run.mjs`, and again for a kept history.
 */

/**
 * @typedef {import("../checker/clients.mjs").Entry} Entry
 * @typedef {import("./faults.mjs").Fault} Fault
 * @typedef {{ phase: string, target: string, faultAt: number, browser: number, from: number, ms: number }} Outage
 * @typedef {{ operations: number, ok: number, unknown: number, p50: number, p99: number, max: number }} PhaseFigures
 * @typedef {{ faults: number, felt: number, writers: number, medianMs: number, maxMs: number }} OutageFigures
 *   `felt`: how many of the faults any writer felt
 */

/** A phase goes on that long after its fault, or until that is undone, if that is later. */
const aftermathMs = 5_000;

const writes = new Set(["login", "set", "update", "rotate", "logout"]);

/** @param {number[]} sorted @param {number} share */
const quantile = (sorted, share) =>
  Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);

export class Outages {
  /** @type {(Fault & { isOpen: boolean })[]} */
  faults = [];
  /** @type {Outage[]} */
  #outages = [];
  /** Of each browser without an acknowledged write. @type {Map<number, Outage>} */
  #open = new Map();
  /** When a browser's last write was acknowledged. @type {Map<number, number>} */
  #lastOk = new Map();
  /** @type {Map<string, { durations: number[], ok: number, unknown: number }>} */
  #phases = new Map();
  /** @type {Record<string, number>} */
  errors = {};

  /** @param {Fault} fault @returns {(undone: Partial<Fault>) => void} */
  begin(fault) {
    const open = { ...fault, isOpen: true };
    this.faults.push(open);
    return (undone) => void Object.assign(open, undone, { isOpen: false });
  }

  /** @param {Entry} entry in the order in which outcomes were known */
  add(entry) {
    const { kind, outcome, status, code, from, to, browser } = entry;
    const fault = this.#faultOf(from, to);
    const phase = fault?.kind ?? "calm";
    const figures = this.#phases.get(phase) ?? { durations: [], ok: 0, unknown: 0 };
    this.#phases.set(phase, figures);
    figures.durations.push(to - from);
    if (outcome === "unknown") {
      figures.unknown += 1;
      const by = /^n\d/.test(entry.app) ? "a node" : "the balancer";
      const name = status === 0 ? "no answer" : `${[status, code].filter(Boolean).join(" ")} by ${by}`;
      this.errors[name] = (this.errors[name] ?? 0) + 1;
    } else figures.ok += 1;
    if (!writes.has(kind)) return;
    const open = this.#open.get(browser);
    if (outcome === "ok") {
      if (open !== undefined) this.#close(open, to);
      this.#lastOk.set(browser, to);
    } else if (outcome === "unknown" && open === undefined) {
      const start = Math.max(from, this.#lastOk.get(browser) ?? 0);
      const { target = "", at = start } = fault ?? {};
      this.#open.set(browser, { phase, target, faultAt: at, browser, from: start, ms: 0 });
    }
  }

  /** @param {number} now when the load ended: what is open is counted up to then */
  finish(now) {
    for (const open of this.#open.values()) this.#close(open, now);
  }

  /** @returns {Record<string, PhaseFigures>} */
  phases() {
    const entries = [...this.#phases].map(([phase, { durations, ok, unknown }]) => {
      const sorted = durations.toSorted((one, other) => one - other);
      const [p50, p99, max] = [quantile(sorted, 0.5), quantile(sorted, 0.99), quantile(sorted, 1)];
      return [phase, { operations: sorted.length, ok, unknown, p50, p99, max }];
    });
    return Object.fromEntries(entries);
  }

  /** By phase: of each fault, what each writer missed at the longest. @returns {Record<string, OutageFigures>} */
  outages() {
    /** @type {Map<string, Outage>} */
    const longest = new Map();
    for (const outage of this.#outages) {
      const key = `${outage.phase} ${outage.faultAt} ${outage.browser}`;
      if ((longest.get(key)?.ms ?? -1) < outage.ms) longest.set(key, outage);
    }
    /** @type {Record<string, OutageFigures>} */
    const figures = {};
    for (const phase of new Set([...this.faults.map(({ kind }) => kind), ...this.#phases.keys()])) {
      const own = [...longest.values()].filter((outage) => outage.phase === phase);
      const sorted = own.map(({ ms }) => ms).sort((one, other) => one - other);
      figures[phase] = {
        faults: this.faults.filter(({ kind }) => kind === phase).length,
        felt: new Set(own.map(({ faultAt }) => faultAt)).size,
        writers: own.length,
        medianMs: quantile(sorted, 0.5),
        maxMs: quantile(sorted, 1),
      };
    }
    return figures;
  }

  /** The outages of writers that a master's fault caused. @returns {number[]} sorted, in ms */
  masterOutages() {
    const own = this.#outages.filter(({ phase }) => phase !== "calm" && phase !== "node kill");
    /** @type {Map<string, number>} */
    const longest = new Map();
    for (const { faultAt, browser, ms } of own) {
      const key = `${faultAt} ${browser}`;
      longest.set(key, Math.max(ms, longest.get(key) ?? 0));
    }
    return [...longest.values()].sort((one, other) => one - other);
  }

  /**
   * A master's fault explains what a node's beside it doesn't.
   * @param {number} from
   * @param {number} to
   */
  #faultOf(from, to) {
    const during = this.faults.filter(({ at, forMs, isOpen }) => {
      return at <= to && (isOpen || from <= at + Math.max(forMs, aftermathMs));
    });
    return during.findLast(({ kind }) => kind !== "node kill") ?? during.at(-1);
  }

  /** @param {Outage} open @param {number} to */
  #close(open, to) {
    this.#open.delete(open.browser);
    this.#outages.push({ ...open, ms: Math.max(0, to - open.from) });
  }
}
