/**
 * Puts the gate's methods in front of a response: on what all responses of an Express app inherit from, once an app,
 * or on the response itself where other middleware has methods there, or there is no app. Own properties cost each
 * response of Express a new hidden class apiece on Node 20 and 22 (it changes the prototype first): 14 µs for four.
 * Called by the response gate.
 */
import {
  type GatedResponse,
  type Gatekeeper,
  type SendingMethods,
  seatKey,
  type Underlying,
} from "./gated-response.ts";
import { putLookOn } from "./held-look.ts";

/** The methods in front, and those below them. */
export interface Installed {
  methods: SendingMethods;
  under: Underlying;
}

const shared = new WeakMap<object, Installed>();

/** `prototype`: what all responses of the app inherit from. Who was there first stays below. */
export function putInFront(response: GatedResponse, keeper: Gatekeeper, prototype?: object): Installed {
  const common = prototype && sharedMethods(prototype);
  const isFirst = response[seatKey] === undefined;
  const isShared = isFirst && common !== undefined && isUntouched(response, common);
  if (isFirst) {
    const seat = { keeper: isShared ? keeper : undefined, held: undefined, hasLook: common !== undefined };
    Object.defineProperty(response, seatKey, { value: seat, configurable: true });
  }
  return isShared ? common : putOnResponse(response, keeper);
}

/** The methods in front of a response that has its own. */
export function putOnResponse(response: GatedResponse, keeper: Gatekeeper): Installed {
  const under = methodsOf(response);
  const methods = frontOf(
    under,
    (name) =>
      (...args) =>
        keeper(name, args),
  );
  Object.assign(response, methods);
  return { methods, under };
}

function sharedMethods(prototype: object): Installed {
  const known = shared.get(prototype);
  if (known !== undefined) return known;
  // What an app's responses inherit from is a response, by Express's own types.
  const under = methodsOf(prototype as GatedResponse);
  const methods = frontOf(under, (name) => {
    const below = under[name];
    return function gated(this: Partial<GatedResponse>, ...args) {
      const keeper = this[seatKey]?.keeper;
      return keeper === undefined ? below?.apply(this, args) : keeper(name, args);
    };
  });
  for (const [name, value] of Object.entries(methods)) {
    Object.defineProperty(prototype, name, { value, configurable: true, writable: true });
  }
  putLookOn(prototype as GatedResponse); // as above
  const installed = { methods, under };
  shared.set(prototype, installed);
  return installed;
}

function isUntouched(response: GatedResponse, { methods, under }: Installed): boolean {
  return (
    response.end === methods.end &&
    response.write === methods.write &&
    response.writeHead === methods.writeHead &&
    response.flushHeaders === methods.flushHeaders &&
    response.on === under.on
  );
}

function methodsOf({ writeHead, write, end, flushHeaders, on }: GatedResponse): Underlying {
  return flushHeaders ? { writeHead, write, end, flushHeaders, on } : { writeHead, write, end, on };
}

function frontOf(
  { flushHeaders }: Underlying,
  make: (name: keyof SendingMethods) => (this: object, ...args: unknown[]) => unknown,
): SendingMethods {
  const methods: SendingMethods = { writeHead: make("writeHead"), write: make("write"), end: make("end") };
  if (flushHeaders) methods.flushHeaders = make("flushHeaders");
  return methods;
}
