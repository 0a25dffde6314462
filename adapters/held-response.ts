/**
 * A response while the gate holds it: the calls in order, and a look as if they had been made, so that nobody changes
 * or answers it a second time. Then the calls are made, or dropped. Used by the response gate; knows nothing of sessions.
 *
 * On HTTP/1 the look is one assignment, to `_header`: compression and on-headers ask it, and Node derives `headersSent`
 * and its refusals from it. Covering those one by one, as on HTTP/2, was measured at 12 µs a response.
 */
import {
  type GatedResponse,
  type HeldName,
  type Holding,
  type LookName,
  type Method,
  seatKey,
  type Underlying,
} from "./gated-response.ts";
import { holdConnection } from "./held-connection.ts";
import { putLookOn } from "./held-look.ts";
import type { ResponseHead } from "./response-head.ts";

/** Headers to set before the held calls are made, by lower-case name. */
export type LateHeaders = ReadonlyMap<string, { name: string; value: string | string[] }>;

const noHeaders: LateHeaders = new Map();

const refused = ["setHeader", "appendHeader", "setHeaders", "removeHeader"] as const;

/** A call with its arguments; `cut` is the `destroy()` of the response or of its connection. */
type HeldCall = { name: HeldName; args: unknown[] } | { name: "cut"; args: []; cut: () => void };

/** One hold, from the first held call to `release` or `drop`. */
export class HeldResponse implements Holding {
  readonly #response: GatedResponse;
  readonly #under: Underlying;
  readonly #head: ResponseHead | undefined;
  readonly #calls: HeldCall[] = [];
  readonly #covered: [name: string, before: PropertyDescriptor | undefined][] = [];
  readonly #status: number | undefined;
  readonly #message: string | undefined;
  /** `end` is among the calls. */
  isEnded = false;
  #isDraining = false;
  /** HTTP/1, and the head is among the calls. */
  #isHeadHeld = false;
  #letGo: () => void = () => {};

  /** `under`: the methods below the gate. `head`: the `writeHead` that is held, if that is what began it. */
  constructor(response: GatedResponse, under: Underlying, head: ResponseHead | undefined) {
    this.#response = response;
    this.#under = under;
    this.#head = head;
    this.#status = response.statusCode;
    // HTTP/2 has no status message and warns whoever asks for it.
    this.#message = "stream" in response ? undefined : response.statusMessage;
    if (typeof head?.status === "number" && head.status >= 100 && head.status <= 999) response.statusCode = head.status;
    this.#lookSent();
  }

  /** Keeps a call; what comes back is what its caller expects. */
  keep(name: HeldName, args: unknown[]): unknown {
    if (name === "writeHead" && this.#calls.length > 0) throw headersSentError();
    this.#calls.push({ name, args });
    if (name === "write") {
      this.#isDraining = true;
      return false;
    }
    if (name === "end") this.isEnded = true;
    return name === "end" || name === "writeHead" ? this.#response : undefined;
  }

  /** Sets `headers` and makes the held calls. @throws what Node throws at a call with wrong arguments */
  release(headers: LateHeaders = noHeaders): void {
    const response = this.#response;
    this.#uncover();
    this.#restoreStatus();
    if (!response.headersSent) for (const { name, value } of headers.values()) response.setHeader(name, value);
    let wantsMore: unknown = true;
    let made = 0;
    try {
      for (const call of this.#calls) {
        const result = call.name === "cut" ? call.cut() : this.#make(call.name, call.args, headers);
        if (call.name === "write") wantsMore = result;
        made++;
      }
    } catch (error) {
      for (const { args } of this.#calls.slice(made)) callBack(args, error);
      throw error;
    }
    // A write that Node refused for now is followed by Node's own `drain`.
    if (this.#isDraining && wantsMore !== false && !this.isEnded && !response.destroyed) this.#emitDrain();
  }

  /** Wakes who waits. Compression below the gate moves listeners to its own stream; `on` returns where they are. */
  #emitDrain(): void {
    const ignore = (): void => {};
    const emitter = this.#under.on?.call(this.#response, "drain", ignore);
    emitter?.removeListener("drain", ignore);
    emitter?.emit("drain");
  }

  #make(name: HeldName, args: unknown[], headers: LateHeaders): unknown {
    if (name === "cork" || name === "uncork") return this.#response[name]?.();
    const given = name === "writeHead" && this.#head !== undefined ? this.#head.without(headers) : args;
    return this.#under[name]?.apply(this.#response, given);
  }

  /** Forgets the calls; each callback among them gets `error`. The response is unsent again. */
  drop(error: unknown): void {
    this.#uncover();
    this.#restoreStatus();
    for (const call of this.#calls) {
      // Whoever wanted the connection cut still does, once the answer that comes instead has been sent.
      if (call.name === "cut") this.#response.on?.("finish", call.cut);
      else callBack(call.args, error);
    }
  }

  /** A status set after the held call would have changed nothing either. */
  #restoreStatus(): void {
    const response = this.#response;
    if (this.#status !== undefined && response.statusCode !== this.#status) response.statusCode = this.#status;
    if (!("stream" in response) && response.statusMessage !== this.#message) {
      Object.assign(response, { statusMessage: this.#message });
    }
  }

  take(name: LookName, method: Method, args: unknown[]): unknown {
    const response = this.#response;
    // Node joins corked chunks of a chunked body into one.
    if (name === "cork" || name === "uncork") return this.keep(name, []);
    if (name === "destroy") {
      if (args.length > 0) return Reflect.apply(method, response, args);
      // Whoever finds the response sent and cuts the connection (Express's final handler) cuts it behind that response.
      this.#calls.push({ name: "cut", args: [], cut: () => Reflect.apply(method, response, []) });
      return response;
    }
    // 1xx responses go out before the held one; Node 24 refuses them once there is a head.
    if (this.#isHeadHeld) response._header = null;
    const result = Reflect.apply(method, response, args);
    if (this.#isHeadHeld) response._header = "held";
    return result;
  }

  #lookSent(): void {
    const response = this.#response;
    const seat = response[seatKey];
    if (seat !== undefined) {
      if (!seat.hasLook) putLookOn(response);
      seat.hasLook = true;
      seat.held = this;
    }
    this.#letGo = holdConnection(response, (cut) => void this.#calls.push({ name: "cut", args: [], cut }));
    // A late `end`: the head has left.
    if (response._header) return;
    if (!Object.hasOwn(response, "_header")) {
      this.#coverHead();
      return;
    }
    this.#isHeadHeld = true;
    response._header = "held";
  }

  /** HTTP/2 derives `headersSent` and its refusals from its stream. */
  #coverHead(): void {
    const cover = (name: string, descriptor: PropertyDescriptor): void => {
      this.#covered.push([name, Object.getOwnPropertyDescriptor(this.#response, name)]);
      Object.defineProperty(this.#response, name, { ...descriptor, configurable: true });
    };
    cover("headersSent", { get: () => true });
    cover("_header", { get: () => "held" });
    for (const name of refused) if (name in this.#response) cover(name, { value: refuse, writable: true });
  }

  #uncover(): void {
    const response = this.#response;
    const seat = response[seatKey];
    if (seat !== undefined) seat.held = undefined;
    this.#letGo();
    if (this.#covered.length === 0 && response._header === "held") response._header = null;
    for (const [name, before] of this.#covered) {
      if (before === undefined) Reflect.deleteProperty(response, name);
      else Object.defineProperty(response, name, before);
    }
  }
}

/** Calls the trailing callback of a call that will not be made, if it has one. */
export function callBack(args: readonly unknown[], error: unknown): void {
  const callback = args.findLast((arg) => typeof arg === "function");
  if (typeof callback === "function") process.nextTick(() => callback(error));
}

/** The error that Node throws when a head that was sent is changed. */
function headersSentError(): Error & { code: string } {
  const error = new Error("Cannot set headers after they are sent to the client");
  return Object.assign(error, { code: "ERR_HTTP_HEADERS_SENT" });
}

function refuse(): never {
  throw headersSentError();
}
