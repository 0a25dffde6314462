/**
 * The exchange port: all that the engine sees of one HTTP request and its response. An adapter makes one a request;
 * no framework type crosses it. No code lives here.
 */
import type { IncomingMessage } from "node:http";

/** One request and its response, as the engine sees them. */
export interface Exchange {
  /** The request's `Cookie` header, as received; `undefined` when there was none. */
  readonly cookieHeader: string | undefined;
  /** Whether the client's connection was secure, as the framework judges it (its trust-proxy setting included). */
  readonly secure: boolean;
  /** The client's address, as the framework judges it; for events only. */
  readonly address: string | undefined;
  /** Whether the response's head has left, so that no header can be added any more. */
  readonly headersSent: boolean;
  /** Whether the client went away, so that nothing reaches it any more; `undefined`: nobody can tell, nor when it ends. */
  readonly closed?: boolean | undefined;
  /** A response header as set so far; names in lower case. */
  getHeader(name: string): number | string | string[] | undefined;
  /** Sets a response header, replacing what stood there. Not called once `headersSent`. */
  setHeader(name: string, value: string | string[]): void;
  /** Where the framework logs why the request has no session; `id` is the public one. Must not throw. */
  explain?(reason: string, id: string | undefined): void;
  /** Node's request. Handed to the user's own callbacks (`skip`, cookie attributes), never read by the engine. */
  readonly raw: IncomingMessage;
}
