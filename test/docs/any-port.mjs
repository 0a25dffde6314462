// @ts-check
/**
 * Preloaded into a script of the README (`node --import`): its servers listen on a free port of the loopback interface
 * instead of the one that it names, and tell the parent process which.
 */
import { Server } from "node:net";

const listen = Server.prototype.listen;

/**
 * @this {Server}
 * @param {unknown[]} args
 */
Server.prototype.listen = function (...args) {
  const callback = /** @type {(() => void) | undefined} */ (args.find((arg) => typeof arg === "function"));
  this.once("listening", () => process.send?.(/** @type {import("node:net").AddressInfo} */ (this.address()).port));
  return listen.call(this, { port: 0, host: "127.0.0.1" }, callback);
};

process.once("disconnect", () => process.exit());
