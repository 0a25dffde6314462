// @ts-check
/**
 * "Remember me": a cookie that ends with the browser for most, and one that stays for 30 days for who asks for it. The
 * server keeps the time too: `cookie.maxAge` is stored with the session, and a cookie that outlives it is worth nothing.
 *
 * $ node examples/remember-me.js
 * $ curl -b jar -c jar -X POST 'localhost:3000/login?user=ada'              # 200 {"user":"ada","days":0}
 * $ curl -b jar -c jar -X POST 'localhost:3000/login?user=ada&remember=on'  # 200 {"user":"ada","days":30}
 * $ curl -b jar -c jar localhost:3000/                                      # 200 {"user":"ada","days":30}
 * $ curl -b jar -c jar -X POST localhost:3000/forget                        # 200 {"user":"ada","days":0}
 */
import express from "express";
import { session } from "holdfast/express";

/** @param {import("express").Request} req */
function show({ session }) {
  const days = (session.cookie.maxAge ?? 0) / (24 * 60 * 60_000);
  return { user: session.user ?? null, days };
}

/** @param {number} port */
export function start(port) {
  const app = express();
  app.use(
    session({
      secret: "for this example only: 32 characters at least",
      ttl: "30m", // for who is not remembered
      absoluteTimeout: "90d", // for everybody: then it is time to log in again
    }),
  );

  app.get("/", (req, res) => {
    res.json(show(req));
  });

  app.post("/login", async (req, res) => {
    await req.session.renew();
    req.session.user = String(req.query.user);
    req.session.cookie.maxAge = req.query.remember === "on" ? "30d" : null;
    res.json(show(req));
  });

  app.post("/forget", (req, res) => {
    req.session.cookie.maxAge = null; // a change like any other: saved before the answer leaves
    res.json(show(req));
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
