/**
 * Three-way merge of session data by top-level key, and carrying a stored change into a live object. Values are equal
 * when their encoded texts are. Pure: no store, no session.
 */
import type { Codec, Data } from "./codec.ts";

/** What a merge came to. */
export interface Merged {
  data: Data;
  /** Keys that both sides changed to different values. */
  conflicts: string[];
}

/** Decides a key that both sides changed; `undefined` is absence. What it throws fails the save. */
export type ConflictResolver = (key: string, base: unknown, mine: unknown, theirs: unknown) => unknown;

/** Sets an own property whatever its name: a plain assignment of `__proto__` would change the prototype. */
export function setKey(target: Data, key: string, value: unknown): void {
  if (key === "__proto__") {
    Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true });
  } else {
    target[key] = value;
  }
}

/** The value of an own key; a name on the prototype is absent. */
function ownValue(data: Data, key: string): unknown {
  return Object.hasOwn(data, key) ? data[key] : undefined;
}

/** One key's text; an absent key and one that is `undefined` have the same. */
function textOf(data: Data, key: string, codec: Codec): string {
  const value = ownValue(data, key);
  if (value === undefined) return "";
  const one: Data = {};
  setKey(one, key, value);
  return codec.encode(one);
}

/**
 * Merges what changed from `base` to `mine` onto `theirs`; a deleted key is a change too. A key that both changed is
 * `resolve`'s to decide; without it mine wins.
 */
export function merge(base: Data, mine: Data, theirs: Data, codec: Codec, resolve?: ConflictResolver): Merged {
  const data: Data = {};
  const conflicts: string[] = [];
  for (const key of new Set([...Object.keys(theirs), ...Object.keys(mine)])) {
    const before = textOf(base, key, codec);
    const my = textOf(mine, key, codec);
    const their = textOf(theirs, key, codec);
    const isMine = my !== before;
    let value = ownValue(isMine ? mine : theirs, key);
    if (isMine && their !== before && my !== their) {
      conflicts.push(key);
      if (resolve !== undefined) value = resolve(key, ownValue(base, key), value, ownValue(theirs, key));
    }
    if (value !== undefined) setKey(data, key, value);
  }
  return { data, conflicts };
}

/**
 * Carries the change `from` → `to` into `live`, key by key; a key that `live` has changed since `from` keeps its value
 * and stays a pending change.
 */
export function rebase(live: Data, from: Data, to: Data, codec: Codec): void {
  for (const key of new Set([...Object.keys(from), ...Object.keys(to)])) {
    const before = textOf(from, key, codec);
    if (textOf(to, key, codec) === before || !stillHas(live, key, before, codec)) continue;
    const value = ownValue(to, key);
    if (value === undefined) delete live[key];
    else setKey(live, key, value);
  }
}

/** Whether two sets of data are the same, in whatever order their keys stand. */
export function isSame(live: Data, stored: Data, codec: Codec): boolean {
  const keys = Object.keys(stored);
  if (Object.keys(live).length !== keys.length) return false;
  return keys.every((key) => Object.hasOwn(live, key) && stillHas(live, key, textOf(stored, key, codec), codec));
}

function stillHas(live: Data, key: string, text: string, codec: Codec): boolean {
  try {
    return textOf(live, key, codec) === text;
  } catch {
    // A value that can't be encoded is a change; the next save names it.
    return false;
  }
}
