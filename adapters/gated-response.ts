/** The response as the gate and its parts see it: Node's public methods, some of which stubs lack. Types only. */
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

/** What can be held: the calls that send, and those whose order with them matters. */
export type HeldName = keyof SendingMethods | "cork" | "uncork";

/** A response: HTTP/1, HTTP/2, or a stub. */
export interface GatedResponse extends SendingMethods {
  statusCode?: number;
  statusMessage?: string;
  readonly headersSent?: boolean;
  readonly destroyed?: boolean;
  setHeader(name: string, value: string | string[]): unknown;
  getHeader(name: string): HeaderValue | undefined;
  removeHeader?(name: string): void;
  destroy?(): unknown;
  cork?: Method;
  uncork?: Method;
  on?(event: string, listener: () => void): EventEmitter;
}
