// @ts-check
/** A request without a server, for what is measured of the engine alone. Called by `large.mjs` and `rolling.mjs`. */
import { IncomingMessage } from "node:http";
import { Socket } from "node:net";

/**
 * @param {string} cookieHeader
 * @returns {import("holdfast").Exchange}
 */
export function exchangeWith(cookieHeader) {
  return {
    cookieHeader,
    secure: false,
    address: "127.0.0.1",
    headersSent: false,
    getHeader: () => undefined,
    setHeader: () => {},
    raw: new IncomingMessage(new Socket()),
  };
}
