// @ts-check
/**
 * An audit log with pino: one line of JSON for each session that begins, gets another id, ends or expires. Public ids
 * only: nothing in it lets anyone in, or says who the user is. Ends that another node brought about are in that node's log.
 *
 * $ node examples/audit-log.js
 * $ curl -b jar -c jar -X POST 'localhost:3000/login?user=ada'     # 200 {"user":"ada"}
 * $ curl -b jar -c jar -X POST 'localhost:3000/login?user=grace'   # 200 {"user":"grace"}
 * $ curl -b jar -c jar -X POST localhost:3000/logout               # 204
 */
import express from "express";
import { createSessions } from "holdfast";
import { session } from "holdfast/express";
import { pino } from "pino";

/**
 * Writes the life of every session to a log.
 * @param {import("holdfast").Sessions} sessions
 * @param {import("pino").Logger} log
 */
export function audit(sessions, log) {
  sessions.on("created", ({ id }) => log.info({ session: id }, "created"));
  sessions.on("renewed", ({ id, previousId }) => log.info({ session: id, previous: previousId }, "renewed"));
  sessions.on("destroyed", ({ id, reason, isRemote }) => {
    if (!isRemote) log.info({ session: id, reason }, "destroyed");
  });
  // Awaited: told again, be it by another node, until it is written. So it may be written twice.
  sessions.on("expired", ({ id }) => log.info({ session: id }, "expired"));
}

/**
 * @param {number} port
 * @param {import("pino").DestinationStream} [destination] default: standard output
 */
export function start(port, destination = pino.destination(1)) {
  const sessions = createSessions({
    secret: "for this example only: 32 characters at least",
    principal: (data) => data.user,
    expiredEvents: true,
  });
  audit(sessions, pino({ name: "sessions" }, destination));

  const app = express();
  app.use(session(sessions));
  app.post("/login", (req, res) => {
    req.session.user = String(req.query.user);
    res.json({ user: req.session.user });
  });
  app.post("/logout", async (req, res) => {
    await req.session.destroy();
    res.status(204).end();
  });
  const server = app.listen(port);
  server.on("close", () => sessions.close());
  return server;
}

if (process.argv[1] === import.meta.filename) {
  const server = start(Number(process.env.PORT ?? 3000));
  process.once("SIGTERM", () => {
    server.close(); // what is under way is answered
    server.keepAliveTimeout = 1; // and no idle connection waited for
  });
}
