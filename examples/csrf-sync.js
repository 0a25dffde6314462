// @ts-check
/**
 * CSRF tokens that are kept in the session (the synchroniser pattern), with csrf-sync. A page asks for the token and
 * sends it with each change; another site can make the browser send the cookie, but does not know the token. A login
 * begins with a new one: a token from before must not serve the account.
 *
 * $ node examples/csrf-sync.js
 * $ curl -b jar -c jar localhost:3000/token             # 200 …
 * $ curl -b jar -c jar -X POST localhost:3000/login     # 403 {"error":"EBADCSRFTOKEN"}
 * $ curl -b jar -c jar localhost:3000/                  # 200 {"user":null}
 */
import { csrfSync } from "csrf-sync";
import express from "express";
import { session } from "holdfast/express";

const { csrfSynchronisedProtection, generateToken, revokeToken } = csrfSync({
  getTokenFromState: (req) => req.session.csrfToken,
  storeTokenInState: (req, token) => {
    req.session.csrfToken = token ?? undefined;
  },
  errorConfig: { code: "EBADCSRFTOKEN" },
});

/** @param {number} port */
export function start(port) {
  const app = express();
  app.use(session({ secret: "for this example only: 32 characters at least" }));
  app.use(csrfSynchronisedProtection);

  app.get("/", (req, res) => {
    res.json({ user: req.session.user ?? null });
  });

  // Only who opens a form gets a session: the token is stored there.
  app.get("/token", (req, res) => {
    res.json({ token: generateToken(req) });
  });

  app.post("/login", async (req, res) => {
    await req.session.renew();
    revokeToken(req);
    req.session.user = "ada";
    res.json({ user: req.session.user });
  });

  app.post("/logout", async (req, res) => {
    await req.session.destroy();
    res.json({ user: null });
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
