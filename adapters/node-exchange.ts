/**
 * The exchange over Node's request and a response's headers, for hosts that hand out Node's own objects. What a
 * framework judges better (is the connection secure, who is the client) is asked of its request. Used by `express.ts`.
 */
import type { IncomingMessage } from "node:http";
import type { Exchange } from "../src/index.ts";

/** Where headers are read and set; the response gate is one. */
export type ResponseHeaders = Pick<Exchange, "headersSent" | "getHeader" | "setHeader">;

/** What Express adds to a request, by its trust-proxy setting; plain Node requests lack it. */
interface JudgedRequest extends IncomingMessage {
  readonly secure?: boolean;
  readonly ip?: string | undefined;
}

/** What tells that a client went away: HTTP/1 has it on the response, HTTP/2 on its stream, stubs not at all. */
export interface ClosableResponse {
  readonly destroyed?: boolean;
  readonly stream?: { readonly destroyed: boolean };
}

/** Whether nothing reaches the client of this response any more; `undefined`: a stub can't tell. */
export function isClosed(response: ClosableResponse): boolean | undefined {
  // Not taken apart above: what is not needed is not looked up, which costs on Express's responses.
  return response.destroyed ?? response.stream?.destroyed;
}

/** An exchange that looks things up when asked. */
export class NodeExchange implements Exchange {
  readonly raw: IncomingMessage;
  readonly #sent: ClosableResponse;
  /** Set before the engine first asks for a header. */
  response: ResponseHeaders;

  constructor(request: IncomingMessage, response: ResponseHeaders & ClosableResponse) {
    this.raw = request;
    this.#sent = response;
    this.response = response;
  }

  get cookieHeader(): string | undefined {
    return this.raw.headers.cookie;
  }

  get secure(): boolean {
    const { secure, socket }: JudgedRequest = this.raw;
    return secure ?? ("encrypted" in socket && socket.encrypted === true);
  }

  get address(): string | undefined {
    const { ip, socket }: JudgedRequest = this.raw;
    return ip ?? socket.remoteAddress;
  }

  get closed(): boolean | undefined {
    return isClosed(this.#sent);
  }

  get headersSent(): boolean {
    return this.response.headersSent;
  }

  getHeader(name: string): number | string | string[] | undefined {
    return this.response.getHeader(name);
  }

  setHeader(name: string, value: string | string[]): void {
    this.response.setHeader(name, value);
  }
}
