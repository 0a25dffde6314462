// @ts-check
/**
 * Web sockets with `ws`: the session is read in the upgrade, and the socket is closed when the session ends.
 *
 * $ node examples/websocket.js
 * $ curl -b jar -c jar -X POST 'localhost:3000/login?user=ada'   # 200 {"user":"ada"}
 *
 * Then, with that cookie, `new WebSocket("ws://localhost:3000/")`: it says "hello ada" and answers what it gets. Without
 * the cookie it is refused with 401. This closes it, with code 4001:
 *
 * $ curl -b jar -c jar -X POST localhost:3000/logout             # 204
 */
import { createServer } from "node:http";
import express from "express";
import { createSessions } from "holdfast";
import { session } from "holdfast/express";
import { WebSocketServer } from "ws";

const loggedOut = 4001;

/** @param {number} port */
export function start(port) {
  const sessions = createSessions({ secret: "for this example only: 32 characters at least" });
  const app = express();
  app.use(session(sessions));
  app.post("/login", async (req, res) => {
    await req.session.renew();
    req.session.user = String(req.query.user);
    res.json({ user: req.session.user });
  });
  app.post("/logout", async (req, res) => {
    await req.session.destroy();
    res.status(204).end();
  });

  const server = createServer(app);
  const sockets = new WebSocketServer({ noServer: true });
  /** @type {Map<import("ws").WebSocket, string>} the open sockets and the public ids of their sessions */
  const idOf = new Map();
  const closeAll = (/** @type {string} */ ended) => {
    for (const [socket, id] of idOf) if (id === ended) socket.close(loggedOut, "the session has ended");
  };
  sessions.on("destroyed", ({ id }) => closeAll(id));
  sessions.on("renewed", ({ previousId }) => closeAll(previousId)); // a login: connect again, as who you are now

  server.on("upgrade", async (request, stream, head) => {
    stream.on("error", () => {});
    const { origin, host } = request.headers;
    const isForeign = origin !== undefined && !origin.endsWith(`//${host}`); // another site's page, with our cookie
    const session = isForeign ? undefined : await sessions.fromRequest(request).catch(() => undefined);
    if (!session?.user) {
      stream.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n");
      return;
    }
    const { id, user } = session;
    sockets.handleUpgrade(request, stream, head, (socket) => {
      idOf.set(socket, id);
      socket.on("close", () => idOf.delete(socket));
      socket.on("error", () => {});
      const whileAlive = async (/** @type {string} */ text) => {
        // An event tells of this process only. This finds what another one ended, what expired, and what ended just now.
        if (await sessions.get(id).catch(() => undefined)) socket.send(text);
        else socket.close(loggedOut, "the session has ended");
      };
      whileAlive(`hello ${user}`);
      socket.on("message", (message) => whileAlive(`${user}: ${message}`));
    });
  });
  return Object.assign(server.listen(port), { sockets, sessions });
}

if (process.argv[1] === import.meta.filename) {
  const server = start(Number(process.env.PORT ?? 3000));
  process.once("SIGTERM", () => {
    for (const socket of server.sockets.clients) socket.close(1001, "this server ends: connect again");
    server.close(() => server.sessions.close()); // once what is under way is answered
    server.keepAliveTimeout = 1; // and no idle connection waited for
  });
}
