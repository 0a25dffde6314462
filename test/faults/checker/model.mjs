// @ts-check
/**
 * The checker's judge: takes a history, operation by operation, and says which promises it breaks. A life is what
 * happens between a login and its logout; nothing is shared between lives, so each is judged alone, once it is over.
 * It knows no server; the same judge reads a running soak and a kept history.
 */

/**
 * @typedef {import("./clients.mjs").Entry} Entry
 * @typedef {{ kind: string, detail: string }} Violation
 * @typedef {{ key: string, ttlMs: number, life: string | null, keys: string[] }} Stored a live record, read in the store
 */

/** How long after its logout a life may still get answers to requests sent before: beyond a client's patience. */
const lingerMs = 10_000;

/** Two ids that share that much at either end are no accident: six bits a character. */
const likeness = 12;

export class Model {
  /** @type {Map<string, Entry[]>} */
  #lives = new Map();
  /** When a life's logout was acknowledged. @type {Map<string, number>} */
  #ended = new Map();
  /** @type {Set<string>} */
  #ids = new Set();
  /** @type {Violation[]} */
  violations = [];
  #count = 0;

  /** @param {Entry} entry in the order in which outcomes were known */
  add(entry) {
    this.#judgeAnswer(entry);
    const life = this.#lives.get(entry.life) ?? [];
    if (!this.#lives.has(entry.life)) this.#lives.set(entry.life, life);
    life.push(entry);
    if (entry.kind === "logout" && entry.outcome === "ok" && !this.#ended.has(entry.life) && !isHearsay(entry, life)) {
      this.#ended.set(entry.life, entry.to);
    }
    this.#count += 1;
    if (this.#count % 2000 === 0) this.#judgeEnded(entry.to - lingerMs);
  }

  /**
   * Judges what is left, and what the store holds.
   * @param {Stored[]} [stored]
   */
  finish(stored = []) {
    this.#judgeIds();
    for (const { key, ttlMs } of stored) if (ttlMs < 0) this.#report("no-ttl", `${key} has no TTL`);
    const moved = new Set();
    for (const [life, entries] of this.#lives) {
      // Where an unknown rotation or login left a record, no client knows its id.
      const isKnown = !entries.some(({ kind, outcome }) => /login|rotate/.test(kind) && outcome === "unknown");
      if (!isKnown) moved.add(life);
    }
    for (const { life, key } of stored) {
      if (life !== null && this.#ended.has(life) && this.#lives.has(life) && !moved.has(life)) {
        this.#report("back", `${life} was logged out and stands in the store (${key})`);
      }
    }
    for (const life of moved) this.#judgeStored(life, stored);
    this.#judgeEnded(Number.POSITIVE_INFINITY);
    for (const [life, entries] of this.#lives) this.#judgeLife(life, entries);
    this.#lives.clear();
    return this.violations;
  }

  /**
   * @param {string} kind
   * @param {string} detail
   */
  #report(kind, detail) {
    this.violations.push({ kind, detail });
  }

  /**
   * What one answer shows by itself.
   * @param {Entry} entry
   */
  #judgeAnswer(entry) {
    const { kind, life, seen, keys = {} } = entry;
    const at = `${kind} of ${life} at ${Math.round(entry.from)} ms on ${entry.app}`;
    if (entry.problem !== undefined) this.#report("error", `${at}: ${entry.problem}`);
    if (typeof seen === "string" && seen !== life) this.#report("foreign", `${at} saw ${seen}`);
    for (const [key, value] of Object.entries(keys)) {
      if (value !== `${seen}:${key}`) this.#report("foreign", `${at} saw ${key}: ${value}`);
    }
    if (kind === "probe" && seen === life) this.#report("back", `${at}: id ${entry.gen} was dead`);
    const endedAt = this.#ended.get(life) ?? Number.POSITIVE_INFINITY;
    if (seen === life && entry.from > endedAt) this.#report("back", `${at}: logged out before`);
    if (entry.id === undefined) {
      if (/login|rotate/.test(kind) && entry.outcome === "ok") this.#report("lost", `${at} gave no cookie`);
      return;
    }
    if (this.#ids.has(entry.id) && (kind === "login" || kind === "rotate")) this.#report("weak-id", `${at}: id again`);
    this.#ids.add(entry.id);
  }

  /** @param {number} before only lives that ended before that time */
  #judgeEnded(before) {
    for (const [life, endedAt] of this.#ended) {
      const entries = this.#lives.get(life);
      if (entries === undefined || endedAt >= before) continue;
      this.#judgeLife(life, entries);
      this.#lives.delete(life);
    }
  }

  /**
   * @param {string} life
   * @param {Entry[]} entries
   */
  #judgeLife(life, entries) {
    const moves = entries.filter(({ kind, outcome }) => (kind === "rotate" || kind === "logout") && outcome !== "fail");
    const kept = entries.filter((entry) => isKept(entry, moves));
    const updates = entries.filter(({ kind, outcome }) => kind === "update" && outcome !== "fail");
    for (const entry of entries) {
      if (entry.seen === life && entry.keys !== undefined) {
        const { keys, count = 0 } = entry;
        const at = `${entry.kind} of ${life} at ${Math.round(entry.from)} ms on ${entry.app}`;
        for (const { key = "", to } of kept) {
          if (to < entry.from && !(key in keys)) this.#report("lost", `${at} lacks ${key}, saved by ${Math.round(to)}`);
        }
        const done = updates.filter(({ outcome, to }) => outcome === "ok" && to < entry.from).length;
        const begun = updates.filter(({ from }) => from < entry.to).length;
        if (count < done) this.#report("lost", `${at}: counter ${count}, ${done} acknowledged`);
        if (count > begun) this.#report("double", `${at}: counter ${count}, only ${begun} begun`);
      }
      if (entry.seen === life) this.#judgeOldId(life, entry, moves);
      if (entry.seen === null && !isExplained(entry, moves)) {
        const at = `${entry.kind} of ${life} at ${Math.round(entry.from)} ms on ${entry.app}`;
        this.#report("lost", `${at} found no session`);
      }
    }
  }

  /**
   * An id that a rotation replaced answers nothing that was sent after it.
   * @param {string} life
   * @param {Entry} entry
   * @param {Entry[]} moves
   */
  #judgeOldId(life, entry, moves) {
    if (entry.kind === "probe" || entry.kind === "logout") return;
    const move = moves.find(({ kind, gen, outcome, to }) => {
      return kind === "rotate" && outcome === "ok" && gen === entry.gen && to < entry.from;
    });
    if (move !== undefined) this.#report("back", `${entry.kind} of ${life} with id ${entry.gen}, rotated before`);
  }

  /**
   * A life whose id no client knows: its acknowledged writes stand in the store, in one of its records.
   * @param {string} life
   * @param {Stored[]} stored
   */
  #judgeStored(life, stored) {
    const records = stored.filter((record) => record.life === life);
    const entries = this.#lives.get(life) ?? [];
    const moves = entries.filter(({ kind, outcome }) => (kind === "rotate" || kind === "logout") && outcome !== "fail");
    if (moves.some(({ kind }) => kind === "logout") || stored.length === 0) return;
    for (const entry of entries) {
      const { key = "" } = entry;
      if (isKept(entry, moves) && !records.some(({ keys }) => keys.includes(key))) {
        this.#report("lost", `${key} of ${life}, saved by ${Math.round(entry.to)} ms, is nowhere in the store`);
      }
    }
  }

  /** Ids that resemble each other at their beginning or end were not drawn at random. */
  #judgeIds() {
    const mirrored = [...this.#ids].map((id) => [...id].reverse().join(""));
    for (const ids of [[...this.#ids].sort(), mirrored.sort()]) {
      const alike = ids.find((id, at) => at > 0 && id.slice(0, likeness) === ids[at - 1]?.slice(0, likeness));
      if (alike !== undefined) this.#report("weak-id", `two ids share ${alike.slice(0, likeness)}`);
    }
  }
}

/**
 * Whether a set was promised to last. One that the app didn't look at may come too late for a rotation or a logout
 * beside it, and is then dropped and reported to the app's log.
 * @param {Entry} entry
 * @param {Entry[]} moves
 */
function isKept(entry, moves) {
  if (entry.kind !== "set" || entry.outcome !== "ok") return false;
  if (entry.explicit) return true;
  return !moves.some(({ from, to, outcome }) => from < entry.to && (outcome === "unknown" || to > entry.from));
}

/**
 * Whether a logout found no session because of a rotation or logout that no replica had confirmed, and so ended none: a
 * failover may undo what it saw.
 * @param {Entry} logout
 * @param {Entry[]} entries of its life
 */
function isHearsay({ seen }, entries) {
  if (seen !== null) return false;
  return entries.some(({ kind, code }) => /rotate|logout/.test(kind) && code === "ERR_SESSION_UNCONFIRMED");
}

/**
 * Whether a rotation or logout explains that a session was not found.
 * @param {Entry} entry
 * @param {Entry[]} moves
 */
function isExplained(entry, moves) {
  if (entry.kind === "probe") return true;
  return moves.some((move) => move !== entry && move.from < entry.to && move.gen <= entry.gen);
}
