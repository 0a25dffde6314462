// @ts-check
/**
 * Passport, unpatched: `passport.initialize()` and `passport.session()` after holdfast's middleware. A login gives the
 * session a new id, `req.logout` ends it.
 *
 * $ node examples/passport.js
 * $ curl -b jar -c jar localhost:3000/me                                                       # 401 {"user":null}
 * $ curl -b jar -c jar localhost:3000/login --json '{"username":"ada","password":"wrong"}'     # 401 …
 * $ curl -b jar -c jar localhost:3000/login --json '{"username":"ada","password":"lovelace"}'  # 200 {"user":"ada"}
 * $ curl -b jar -c jar localhost:3000/me                                                       # 200 {"user":"ada"}
 * $ curl -b jar -c jar -X POST localhost:3000/logout                                           # 204
 * $ curl -b jar -c jar localhost:3000/me                                                       # 401 {"user":null}
 */
import express from "express";
import { session } from "holdfast/express";
import passport from "passport";
import Custom from "passport-custom";

const users = [{ name: "ada", password: "lovelace" }];

/** @typedef {(typeof users)[number]} User */

const auth = new passport.Passport();
auth.use(
  "password", // stands for passport-local, or any other strategy
  new Custom.Strategy((req, done) => {
    const { username, password } = req.body;
    done(null, users.find((user) => user.name === username && user.password === password) ?? false);
  }),
);
auth.serializeUser((user, done) => done(null, /** @type {User} */ (user).name));
auth.deserializeUser((name, done) => done(null, users.find((user) => user.name === name) ?? false));

/** @param {import("express").Request} req */
const nameOf = (req) => /** @type {User | undefined} */ (req.user)?.name ?? null;

/** @param {number} port */
export function start(port) {
  const app = express();
  app.use(express.json());
  app.use(session({ secret: "for this example only: 32 characters at least" }));
  app.use(auth.initialize());
  app.use(auth.session());

  app.get("/me", (req, res) => {
    res.status(req.isAuthenticated() ? 200 : 401).json({ user: nameOf(req) });
  });

  app.post("/login", auth.authenticate("password"), (req, res) => {
    res.json({ user: nameOf(req) });
  });

  app.post("/logout", (req, res, next) => {
    req.logout((error) => {
      if (error) next(error);
      else res.status(204).end();
    });
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
