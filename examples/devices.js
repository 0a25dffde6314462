// @ts-check
/**
 * "Your devices": whose sessions there are, one of them ended, all others ended, and at most three at once. The routes are
 * the same in Koa and Fastify: `sessions` knows no framework.
 *
 * $ node examples/devices.js
 * $ curl -b jar -c jar -X POST 'localhost:3000/login?user=ada'          # 200 {"user":"ada"}
 * $ curl -b jar -c jar localhost:3000/devices                           # 200 …
 * $ curl -b jar -c jar -X DELETE localhost:3000/devices/unknown         # 404
 * $ curl -b jar -c jar -X DELETE localhost:3000/devices                 # 200 {"ended":0}
 * $ curl -b jar -c jar -X POST localhost:3000/logout                    # 204
 * $ curl -b jar -c jar localhost:3000/devices                           # 401
 */
import express from "express";
import { createSessions } from "holdfast";
import { session } from "holdfast/express";

/** What the page does, for any framework: `request` is Node's own, `current` its session. */
export function devicesOf(/** @type {import("holdfast").Sessions} */ sessions) {
  /** @param {import("holdfast").UserSession} current */
  const userOf = (current) => current.user ?? "";
  return {
    /** @param {import("holdfast").UserSession} current */
    list: (current) => sessions.list(userOf(current), { current }),
    /** @param {import("holdfast").UserSession} current @param {string} id */
    end: (current, id) => sessions.destroy(id, { principal: userOf(current) }),
    /** @param {import("holdfast").UserSession} current */
    endOthers: async (current) => ({ ended: await sessions.destroyAll(userOf(current), { except: current }) }),
  };
}

/** The engine: whose session it is, what to show of it, and how many there may be. */
export const sessionOptions = () => ({
  secret: "for this example only: 32 characters at least",
  principal: (/** @type {import("holdfast").SessionData} */ data) => data.user,
  describe: (/** @type {import("node:http").IncomingMessage} */ req) => ({
    ip: req.socket.remoteAddress,
    agent: req.headers["user-agent"],
  }),
  maxSessions: 3,
});

/** @param {number} port */
export function start(port) {
  const sessions = createSessions(sessionOptions());
  const devices = devicesOf(sessions);
  const app = express();
  app.use(session(sessions));
  app.post("/login", (req, res) => {
    req.session.user = String(req.query.user); // the save gives the session a new id by itself
    res.json({ user: req.session.user });
  });
  app.post("/logout", async (req, res) => {
    await req.session.destroy();
    res.status(204).end();
  });
  app.use("/devices", (req, res, next) => {
    if (req.session.user) next();
    else res.status(401).end();
  });
  app.get("/devices", async (req, res) => {
    res.json(await devices.list(req.session));
  });
  app.delete("/devices/:id", async (req, res) => {
    res.status((await devices.end(req.session, req.params.id)) ? 204 : 404).end();
  });
  app.delete("/devices", async (req, res) => {
    res.json(await devices.endOthers(req.session));
  });
  return app.listen(port);
}

if (process.argv[1] === import.meta.filename) {
  const server = start(Number(process.env.PORT ?? 3000));
  process.once("SIGTERM", () => {
    server.close(); // what is under way is answered
    server.keepAliveTimeout = 1; // and no idle connection waited for
  });
}
