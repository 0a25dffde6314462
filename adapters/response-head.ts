/**
 * The forms that `writeHead` takes, read and rewritten without touching the caller's object: which header it passes,
 * and the same call without the headers that are on the response already, so that they are not replaced. Used by the
 * response gate; knows nothing of sessions.
 */

/** A header's value as Node takes it. */
export type HeaderValue = number | string | string[];

/** The arguments of one `writeHead` call. */
export class ResponseHead {
  /** The status as passed; Node checks it when the call is made. */
  readonly status: unknown;
  readonly #args: readonly unknown[];
  /** Where the headers stand in the arguments; -1: none were passed. */
  readonly #at: number;

  constructor(args: readonly unknown[]) {
    this.#args = args;
    this.status = args[0];
    // writeHead(status, headers), writeHead(status, message, headers), and undefined in the message's place.
    this.#at = isHeaders(args[2]) ? 2 : isHeaders(args[1]) ? 1 : -1;
  }

  /** The value passed for a header (`name` in lower case), several as a list; `undefined`: not passed. */
  get(name: string): HeaderValue | undefined {
    if (this.#at < 0) return undefined;
    const values: (number | string)[] = [];
    let isList = false;
    for (const [key, value] of pairsOf(this.#args[this.#at])) {
      if (String(key).toLowerCase() !== name || value === undefined) continue;
      isList ||= Array.isArray(value);
      // Node takes numbers, strings and lists of strings, and checks them when the call is made.
      values.push(...((Array.isArray(value) ? value : [value]) as (number | string)[]));
    }
    return values.length > 1 || isList ? values.map(String) : values[0];
  }

  /**
   * The arguments for a response that has the headers `names` (lower case) already. Doubled names of the array forms
   * are joined in one entry: on a response with headers Node 20 would keep only the last.
   */
  without(names: ReadonlyMap<string, unknown>): unknown[] {
    const args = [...this.#args];
    if (this.#at < 0 || names.size === 0) return args;
    const given = args[this.#at];
    const kept = pairsOf(given).filter(([key]) => !names.has(String(key).toLowerCase()));
    args[this.#at] = Array.isArray(given) ? joined(kept) : Object.fromEntries(kept);
    return args;
  }
}

function isHeaders(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** Of an object, of `[[name, value], …]` or of `[name, value, name, value, …]`. */
function pairsOf(headers: unknown): [PropertyKey, unknown][] {
  if (!Array.isArray(headers)) return Object.entries(headers as object); // isHeaders said so
  if (Array.isArray(headers[0])) return headers as [PropertyKey, unknown][]; // Node's other array form
  const pairs: [PropertyKey, unknown][] = [];
  for (let index = 0; index < headers.length; index += 2) pairs.push([headers[index], headers[index + 1]]);
  return pairs;
}

function joined(pairs: readonly [PropertyKey, unknown][]): unknown[] {
  const entries = new Map<string, [PropertyKey, unknown]>();
  for (const [key, value] of pairs) {
    const name = String(key).toLowerCase();
    const earlier = entries.get(name);
    entries.set(name, [earlier?.[0] ?? key, earlier === undefined ? value : [earlier[1], value].flat()]);
  }
  return [...entries.values()].flat();
}
