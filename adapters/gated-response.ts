/**
 * What the response gate works with: the visit, and the response as its parts see it, with Node's public methods, some
 * of which stubs lack. Types, and the key under which a response has its hold.
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

/** Where a response that is held has its hold. */
export const heldKey: unique symbol = Symbol("holdfast.held");

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
  [heldKey]?: { readonly isEnded: boolean } | undefined;
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
