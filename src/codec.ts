/**
 * The codec port, and JSON, its default. A codec turns the data of a session into text and back; the text is also what
 * decides whether a session changed, so it must be deterministic. Nothing here knows stores, cookies or requests.
 */
import { SessionError } from "./errors.ts";

/** What a session holds: the user's own keys. */
export type Data = Record<string, unknown>;

/** Data to text and back. `encode` must give the same text for the same data; `decode` may throw on what it can't read. */
export interface Codec {
  encode(data: Data): string;
  decode(text: string): Data;
}

/** Hears of a value that is kept as its JSON, as it comes back as something else (a Date as a string). */
export type LossyListener = (key: string, type: string) => void;

/** Deeper than any data of use, and far from the depth at which `JSON.stringify` runs out of stack. */
const maxDepth = 200;

/**
 * JSON that never loses anything in silence: what JSON can't hold is refused with the path to it, what it holds as
 * something else (whatever has `toJSON`, and instances of classes) is kept and reported to `onLossy`.
 */
export function jsonCodec(onLossy: LossyListener = () => {}): Codec {
  return {
    encode(data) {
      // What is plainly JSON needs no path. Anything else is looked at again, key by key, so that it can be named.
      if (!isPlainData(data)) for (const key of Object.keys(data)) checkKey(data, key, onLossy);
      return JSON.stringify(data);
    },
    decode(text) {
      const data = parsed(text);
      if (typeof data !== "object" || data === null || Array.isArray(data)) throw new SyntaxError("not a JSON object");
      // A shorter text can't be nested so deep.
      if (text.length > 2 * maxDepth && isDeeper(data, maxDepth + 1)) throw new SyntaxError("nested too deep");
      // Checked above: an object, and JSON has string keys only.
      return data as Data;
    },
  };
}

/** V8's own message quotes the text, which is a user's data and must not end in a log. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SyntaxError("not JSON");
  }
}

/** Whether all of the data is plainly JSON. The user's own code may run and throw: then it is not. */
function isPlainData(data: Data): boolean {
  try {
    return isPlainJson(data, 0);
  } catch {
    return false;
  }
}

/** Whether a value is JSON as it stands. `false` may be a false alarm (deep nesting), `true` never is. */
function isPlainJson(value: unknown, depth: number): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object" || value === null) {
    return typeof value === "string" || typeof value === "boolean" || value === null || value === undefined;
  }
  // A circle is deeper than any limit.
  if (depth > 20 || "toJSON" in value) return false;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) if (!isPlainJson(value[index], depth + 1)) return false;
    return true;
  }
  // The data themselves are a session, whose prototype has its members.
  if (depth > 0 && Object.getPrototypeOf(value) !== Object.prototype) return false;
  // The shape was checked above.
  const object = value as Data;
  // What is inherited would be a false alarm. No list of keys is made: this runs once a request.
  for (const key in object) if (!isPlainJson(object[key], depth + 1)) return false;
  return !(Symbol.toStringTag in value);
}

/** The user's own code runs here (`toJSON`, getters, proxies); whatever it throws is told with the key. */
function checkKey(data: Data, key: string, onLossy: LossyListener): void {
  const path = `session[${JSON.stringify(key)}]`;
  try {
    check(data[key], { path, key, onLossy, parents: [] });
  } catch (error) {
    if (error instanceof SessionError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new SessionError("ERR_SESSION_VALUE", `${path} can't be stored: reading it threw: ${reason}`, {
      cause: error,
    });
  }
}

/** Whether objects and arrays stand in each other more than `levels` deep. What JSON gave: no circles, nothing inherited. */
function isDeeper(value: object, levels: number): boolean {
  if (levels === 0) return true;
  // No closure and no list of values: this looks at each value of what a request reads.
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) if (isDeeperInside(value[index], levels)) return true;
    return false;
  }
  // An object, and JSON has string keys only.
  const object = value as Data;
  for (const key in object) if (isDeeperInside(object[key], levels)) return true;
  return false;
}

function isDeeperInside(value: unknown, levels: number): boolean {
  return typeof value === "object" && value !== null && isDeeper(value, levels - 1);
}

interface Walk {
  path: string;
  /** The top-level key, for reports. */
  key: string;
  onLossy: LossyListener;
  /** The objects on the way here: one that shows up again is circular. */
  parents: object[];
}

function check(value: unknown, walk: Walk): void {
  switch (typeof value) {
    case "string":
    case "boolean":
    case "undefined":
      return;
    case "number":
      if (!Number.isFinite(value)) refuse(walk.path, String(value), "store a string, or leave the key out");
      return;
    case "object":
      if (value !== null) checkObject(value, walk);
      return;
    default:
      refuse(walk.path, `a ${typeof value}`, "sessions hold JSON: store a string or a number instead");
  }
}

function checkObject(value: object, walk: Walk): void {
  if (walk.parents.includes(value)) refuse(walk.path, "a circular reference", "store an id instead of the object");
  if (walk.parents.length >= maxDepth) refuse(walk.path, `nesting deeper than ${maxDepth}`, "store it flatter");
  if ("toJSON" in value && typeof value.toJSON === "function") {
    checkJson(value, value.toJSON(walk.key), walk);
    return;
  }
  walk.parents.push(value);
  const { path } = walk;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      walk.path = `${path}[${index}]`;
      check(value[index], walk);
    }
  } else {
    if (!isPlain(value)) checkInstance(value, walk);
    for (const [key, inner] of Object.entries(value)) {
      walk.path = `${path}.${key}`;
      check(inner, walk);
    }
  }
  walk.path = path;
  walk.parents.pop();
}

/** What has `toJSON` is kept as its JSON. */
function checkJson(value: object, json: unknown, walk: Walk): void {
  if (value instanceof Date && json === null) refuse(walk.path, "an invalid Date", "check it before you store it");
  walk.onLossy(walk.key, value.constructor?.name ?? "object");
  walk.parents.push(value);
  check(json, walk);
  walk.parents.pop();
}

/** An instance of a class comes back as a plain object; one with inner slots (Map, Set, RegExp, …) as an empty one. */
function checkInstance(value: object, walk: Walk): void {
  const tag = Object.prototype.toString.call(value).slice(8, -1);
  if (tag !== "Object") refuse(walk.path, `a ${tag}`, "sessions hold JSON: store a plain object or an array instead");
  walk.onLossy(walk.key, value.constructor?.name ?? "object");
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  // The second test knows `Object.prototype` of another realm too.
  return prototype === null || (Object.getPrototypeOf(prototype) === null && !(Symbol.toStringTag in value));
}

function refuse(path: string, received: string, cure: string): never {
  throw new SessionError("ERR_SESSION_VALUE", `${path} is ${received} and can't be stored: ${cure}`);
}
