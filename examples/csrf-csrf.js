// @ts-check
/**
 * CSRF tokens in a cookie of their own, signed (the double-submit pattern), with csrf-csrf. The token is bound to a
 * random value in the session, not to `session.id`: that changes with `renew()` and timed rotation, and with it every
 * token that an open page holds. A login begins with a new value: a token from before must not serve the account.
 *
 * $ node examples/csrf-csrf.js
 * $ curl -b jar -c jar localhost:3000/token             # 200 …
 * $ curl -b jar -c jar -X POST localhost:3000/login     # 403 {"error":"EBADCSRFTOKEN"}
 * $ curl -b jar -c jar localhost:3000/                  # 200 {"user":null}
 */
import { randomBytes } from "node:crypto";
import cookieParser from "cookie-parser";
import { doubleCsrf } from "csrf-csrf";
import express from "express";
import { session } from "holdfast/express";

const { doubleCsrfProtection, generateCsrfToken } = doubleCsrf({
  getSecret: () => "another one for this example: 32 characters",
  getSessionIdentifier: (req) => req.session.csrfBinding ?? "",
  cookieName: "csrf", // over HTTPS: "__Host-csrf", with secure: true
  cookieOptions: { sameSite: "strict", secure: false },
  errorConfig: { code: "EBADCSRFTOKEN" },
});

const newBinding = () => randomBytes(18).toString("base64url");

/** @param {number} port */
export function start(port) {
  const app = express();
  app.use(cookieParser());
  app.use(session({ secret: "for this example only: 32 characters at least", renewalTimeout: "15m" }));
  app.use(doubleCsrfProtection);

  app.get("/", (req, res) => {
    res.json({ user: req.session.user ?? null });
  });

  // Only who opens a form gets a session: the token is bound to it.
  app.get("/token", (req, res) => {
    req.session.csrfBinding ??= newBinding();
    res.json({ token: generateCsrfToken(req, res, { overwrite: true }) });
  });

  app.post("/login", async (req, res) => {
    await req.session.renew();
    req.session.csrfBinding = newBinding();
    req.session.user = "ada";
    res.json({ user: req.session.user });
  });

  // A change of rights: a new id, and the page's token goes on.
  app.post("/become-editor", async (req, res) => {
    await req.session.renew();
    res.json({ user: req.session.user ?? null });
  });

  app.use(refuse);
  return app.listen(port);
}

/** @type {(...args: Parameters<import("express").ErrorRequestHandler>) => void} */
function refuse(error, _req, res, _next) {
  res.status(error.status ?? 500).json({ error: error.code ?? "internal error" });
}

if (process.argv[1] === import.meta.filename) {
  const server = start(Number(process.env.PORT ?? 3000));
  process.once("SIGTERM", () => {
    server.close(); // what is under way is answered
    server.keepAliveTimeout = 1; // and no idle connection waited for
  });
}
