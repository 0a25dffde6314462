// @ts-check
/**
 * The end of an app that a test runs as a process: serves on ports that are free, tells them on its output as one line of
 * JSON, and ends when its input does. The programs in `test/faults` and `test/races` call it last.
 */
import { once } from "node:events";

/**
 * @param {readonly import("node:http").Server[]} servers
 * @param {() => Promise<unknown>} close what to close after the servers
 */
export async function serveUntilTold(servers, close) {
  const ports = [];
  for (const server of servers) {
    // A connection that the server closes for idleness, as a client writes on it, fails that request.
    server.keepAliveTimeout = 0;
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    ports.push(/** @type {import("node:net").AddressInfo} */ (server.address()).port);
  }
  console.log(JSON.stringify(ports));

  process.stdin.resume();
  await once(process.stdin, "end");
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
  await close();
}
