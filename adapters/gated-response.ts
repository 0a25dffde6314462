/**
 * What the response gate works with: the visit, and the response as its parts see it, with Node's public methods, some
 * of which stubs lack. Types, and the keys under which responses and connections have what the gate keeps there.
 */
import type { EventEmitter } from "node:events";
import type { HeaderValue } from "./response-head.ts";

/** A method in any of its forms. */
export type Method = (...args: unknown[]) => unknown;

/** The calls that send the head. */
export interface SendingMethods {
  writeHead: Method;
  write: Method;
  end: Method;
  flushHeaders?: Method;
}

/** The response's methods below the gate: another middleware's, or Node's. */
export interface Underlying extends SendingMethods {
  on: GatedResponse["on"];
}

/** What can be held: the calls that send, and those whose order with them matters. */
export type HeldName = keyof SendingMethods | "cork" | "uncork";

/** Where a response has its seat: one property for all, as each costs Express's responses a new hidden class. */
export const seatKey: unique symbol = Symbol("holdfast.seat");

/** What is kept on a gated response itself: a WeakMap would keep it alive for V8's minor collections. */
export interface Seat {
  /** Who takes the calls of the methods that the app's responses share; `undefined`: it has methods of its own. */
  keeper: Gatekeeper | undefined;
  /** The hold, while it is held. */
  held: Holding | undefined;
  /** Whether the methods that ask for the hold are in place, see `held-look.ts`. */
  hasLook: boolean;
}

/** Takes a call of one of the methods that send. */
export type Gatekeeper = (name: keyof SendingMethods, args: unknown[]) => unknown;

/** The methods that a held response takes besides those that send. */
export type LookName =
  | "cork"
  | "uncork"
  | "destroy"
  | "writeContinue"
  | "writeProcessing"
  | "writeEarlyHints"
  | "writeInformation";

/** A hold, as the methods in front of a response see it. */
export interface Holding {
  readonly isEnded: boolean;
  /** Takes a call; `method` is what would be called without the hold. */
  take(name: LookName, method: Method, args: unknown[]): unknown;
}

/** Where a connection has who keeps its `destroy()` while a response is held. */
export const cutKey: unique symbol = Symbol("holdfast.cut");

/** What a response is sent on: a socket, or a stream of HTTP/2. */
export interface HeldConnection {
  [cutKey]?: ((cut: () => void) => void) | undefined;
  destroy: Method;
  readonly writableEnded: boolean;
  /** HTTP/2: the other side has reset it. */
  readonly closed?: boolean;
}

/** A response: HTTP/1, HTTP/2, or a stub. */
export interface GatedResponse extends SendingMethods {
  [seatKey]?: Seat | undefined;
  /** HTTP/1's rendered head; not Node's public API, see `held-response.ts`. */
  _header?: string | null;
  statusCode?: number;
  statusMessage?: string;
  readonly headersSent?: boolean;
  readonly destroyed?: boolean;
  setHeader(name: string, value: string | string[]): unknown;
  getHeader(name: string): HeaderValue | undefined;
  removeHeader?(name: string): void;
  destroy?: Method;
  cork?: Method;
  uncork?: Method;
  writeContinue?: Method;
  writeProcessing?: Method;
  writeEarlyHints?: Method;
  writeInformation?: Method;
  /** HTTP/1's connection; `null` while an earlier response of the same one is under way. */
  readonly socket?: HeldConnection | null;
  /** HTTP/2's. */
  readonly stream?: HeldConnection;
  on?: ((event: string, listener: () => void) => EventEmitter) | undefined;
}

/** What the gate needs of a visit. */
export interface GateVisit {
  /** See `Visit.commit`. */
  commit(): Promise<void> | undefined;
  /** See `Visit.finish`. */
  finish(): Promise<void> | undefined;
}

/** A response of Node's, or a stub of one. */
export interface GateableResponse {
  writeHead(...args: never[]): unknown;
  write(...args: never[]): unknown;
  end(...args: never[]): unknown;
  setHeader(name: string, value: string | string[]): unknown;
  getHeader(name: string): HeaderValue | undefined;
}
