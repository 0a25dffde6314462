// @ts-check
/**
 * Web sockets with `ws`: the session is read in the upgrade, and the socket is closed when the session ends or expires.
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

/**
 * @param {number} port
 * @param {Partial<import("holdfast").SessionOptions>} [options] with a Redis store, a session may end on any node
 */
export function start(port, options = {}) {
  const sessions = createSessions({ secret: "for this example only: 32 characters at least", ...options });
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
  server.on("upgrade", async (request, stream, head) => {
    stream.on("error", () => {});
    const { origin, host } = request.headers;
    const isForeign = origin !== undefined && !origin.endsWith(`//${host}`); // another site's page, with our cookie
    const session = isForeign ? undefined : await sessions.fromRequest(request).catch(() => undefined);
    if (!session?.user) {
      stream.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n");
      return;
    }
    const { user } = session;
    sockets.handleUpgrade(request, stream, head, (socket) => {
      socket.on("error", () => {});
      // On whatever node it ended, also if that was just now. "renewed" is a login: connect again, as who you are now.
      const unwatch = sessions.watch(session, (reason) => socket.close(loggedOut, reason));
      socket.on("close", unwatch);
      socket.send(`hello ${user}`);
      socket.on("message", (message) => socket.send(`${user}: ${message}`));
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
