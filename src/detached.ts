/**
 * The exchange of a request whose response is not ours: a web-socket upgrade, a plain `node:http` read. It sets nothing.
 * Used by the engine's `fromRequest`.
 */
import type { IncomingMessage } from "node:http";
import type { Exchange } from "./exchange.ts";

/** As if the response's head had left. */
export function detached(request: IncomingMessage): Exchange {
  return {
    cookieHeader: request.headers.cookie,
    secure: "encrypted" in request.socket,
    address: request.socket.remoteAddress,
    headersSent: true,
    getHeader: () => undefined,
    setHeader: () => {},
    raw: request,
  };
}
