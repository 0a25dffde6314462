/**
 * What a session's data were when their text was read or made: every key and every plain value, in order. It tells at a
 * fraction of the price of encoding again that nothing has changed since, which is most requests' case, and every
 * response's once it has left. Where it says no, the text decides. Held by session-state.ts; knows no store.
 */
import type { Data } from "./codec.ts";

/** Data nested deeper are told by their text; circles end here. */
const maxDepth = 20;

/** Stands behind the last key of an object. */
const end: unique symbol = Symbol("end");

/** The data that led to one text. */
export class Fingerprint {
  /** The text that they are, or came from. */
  readonly text: string;
  readonly #values: readonly unknown[];

  /** Of `data`, which are `text`; `undefined`: they hold what is no plain JSON, such as instances of classes. */
  static of(data: Data, text: string): Fingerprint | undefined {
    const values: unknown[] = [];
    return noteKeys(data, values, 0) ? new Fingerprint(text, values) : undefined;
  }

  private constructor(text: string, values: readonly unknown[]) {
    this.text = text;
    this.#values = values;
  }

  /** Whether `data` are still what they were: `true` is certain, `false` may be a false alarm. Never throws. */
  matches(data: Data): boolean {
    try {
      return matchKeys(data, this.#values, 0) === this.#values.length;
    } catch {
      // A getter or a Proxy of the user's: encoding tells which.
      return false;
    }
  }
}

function noteKeys(object: Data, values: unknown[], depth: number): boolean {
  // No list of keys and no closure here and below: this runs once a request.
  for (const key in object) {
    values.push(key);
    if (!noteValue(object[key], values, depth)) return false;
  }
  values.push(end);
  return true;
}

function noteValue(value: unknown, values: unknown[], depth: number): boolean {
  values.push(value);
  switch (typeof value) {
    case "object":
      return value === null || noteObject(value, values, depth + 1);
    case "string":
    case "number":
    case "boolean":
    case "undefined":
      return true;
    default:
      return false;
  }
}

function noteObject(value: object, values: unknown[], depth: number): boolean {
  if (depth > maxDepth || "toJSON" in value) return false;
  if (Array.isArray(value)) {
    values.push(value.length);
    for (let index = 0; index < value.length; index++) if (!noteValue(value[index], values, depth)) return false;
    return true;
  }
  // A plain object has string keys.
  return Object.getPrototypeOf(value) === Object.prototype && noteKeys(value as Data, values, depth);
}

/** The place behind what matches, from `at` on; -1: something differs. */
function matchKeys(object: Data, values: readonly unknown[], at: number): number {
  let next = at;
  for (const key in object) {
    if (values[next] !== key) return -1;
    next = matchValue(object[key], values, next + 1);
    if (next < 0) return -1;
  }
  return values[next] === end ? next + 1 : -1;
}

function matchValue(value: unknown, values: readonly unknown[], at: number): number {
  // Objects by identity: one in another's place is a change, or at least worth the encoding.
  if (values[at] !== value) return -1;
  if (typeof value !== "object" || value === null) return at + 1;
  if (!Array.isArray(value)) {
    return Object.getPrototypeOf(value) === Object.prototype ? matchKeys(value as Data, values, at + 1) : -1;
  }
  if (values[at + 1] !== value.length) return -1;
  let next = at + 2;
  for (let index = 0; index < value.length && next >= 0; index++) next = matchValue(value[index], values, next);
  return next;
}
