/** Starts a test server on a free port of the loopback interface. */
import type { Server } from "node:http";

/** A server that listens. */
export interface RunningApp {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly port: number;
  /** Ends it, open connections included. */
  close(): Promise<void>;
}

/** Listens on a free port; resolves once connections are accepted. */
export async function listen(server: Server): Promise<RunningApp> {
  // A connection that the server closes for idleness, as a client writes on it, fails that request: nothing to test here.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has an address object");
  return {
    url: `http://127.0.0.1:${address.port}`,
    port: address.port,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
