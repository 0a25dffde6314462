// @ts-check
/**
 * A network between a server under test and Redis: a TCP proxy that keeps each answer back for so many ms, in order. A
 * process of its own, so that it runs off the server's core: `node delay-proxy.mjs <port> <ms>`; it tells its parent its
 * port and ends with it. A timer fires up to 1 ms late, so `network.mjs`, who starts it, measures what came of it.
 */
import { connect, createServer } from "node:net";
import process from "node:process";

const [target, delayMs] = process.argv.slice(2).map(Number);
if (target === undefined || delayMs === undefined) throw new Error("node delay-proxy.mjs <port> <ms>");

const server = createServer({ noDelay: true }, (client) => {
  const upstream = connect({ port: target, host: "127.0.0.1", noDelay: true });
  client.on("data", (chunk) => upstream.write(chunk));
  // Timers of one length fire in the order in which they were set.
  upstream.on("data", (chunk) => setTimeout(() => client.destroyed || client.write(chunk), delayMs));
  for (const socket of [client, upstream]) {
    socket.on("error", () => {});
    socket.on("close", () => {
      client.destroy();
      upstream.destroy();
    });
  }
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.send?.({ port: typeof address === "object" && address !== null ? address.port : 0 });
});
process.on("disconnect", () => process.exit(0));
