/**
 * The methods of a response that ask whether it is held: what ends its connection, corks it or sends a 1xx goes to the
 * hold, and `writableEnded` looks as if the held `end` had been made. Put once on what all responses of an Express app
 * inherit from, by `gate-methods.ts`, or on one response at its first hold: as properties of their own they cost each
 * held response of Express 14 kB of hidden classes on Node 20 and 22.
 */
import { type GatedResponse, type LookName, type Method, seatKey } from "./gated-response.ts";

const names: readonly LookName[] = [
  "cork",
  "uncork",
  "destroy",
  "writeContinue",
  "writeProcessing",
  "writeEarlyHints",
  "writeInformation",
];

/** Puts them on a response, or on what responses inherit from. */
export function putLookOn(target: GatedResponse): void {
  for (const name of names) {
    const method = target[name];
    if (typeof method === "function") define(target, name, { value: askingFirst(name, method), writable: true });
  }
  const parent: object | null = Object.getPrototypeOf(target);
  define(target, "writableEnded", {
    get(this: GatedResponse) {
      return this[seatKey]?.held?.isEnded ?? (parent && Reflect.get(parent, "writableEnded", this));
    },
  });
}

function askingFirst(name: LookName, method: Method): Method {
  return function held(this: GatedResponse, ...args) {
    const holding = this[seatKey]?.held;
    return holding === undefined ? Reflect.apply(method, this, args) : holding.take(name, method, args);
  };
}

function define(target: object, name: string, descriptor: PropertyDescriptor): void {
  Object.defineProperty(target, name, { ...descriptor, configurable: true });
}
