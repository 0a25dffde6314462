// @ts-check
/**
 * Express 5: bare, express-session (twice) and holdfast (three times).
 *
 * The peer is express-session with connect-redis over node-redis, as both READMEs show it: `resave: false`,
 * `saveUninitialized: false`, `rolling` left off (its default), the store's touch left on (its default). It reads the
 * record on every request that carries a cookie, touched or not, and sends an EXPIRE after each that changed nothing.
 * Nothing of it is slowed down: keep-alive connections in parallel let node-redis send many commands in one write. Its
 * CPU per request depends on that number (--connections), so figures of two runs compare only with the same one.
 * `peer-tuned` is the same with a cheaper Redis client (`nodeRedis` in server.mjs).
 */
import { createRequire } from "node:module";
import express from "express";
import { holdfastOptions, nodeRedis, page, secret, signedIn, start } from "./server.mjs";

// express-session brings no types, and none are installed for its sake.
const requireUntyped = createRequire(import.meta.url);

await start({
  async bare() {
    const app = express();
    const session = signedIn();
    app.get("/page", (_request, response) => void response.json(page));
    app.get("/read", (_request, response) => void response.json({ user: session.user.name }));
    app.post("/write", (_request, response) => {
      session.views += 1;
      response.json({ views: session.views });
    });
    app.post("/login", (_request, response) => {
      Object.assign(session, signedIn());
      response.json({ user: session.user.name });
    });
    return listen(app);
  },

  peer: (redisUrl) => peer(redisUrl, false),
  "peer-tuned": (redisUrl) => peer(redisUrl, true),

  holdfast: (redisUrl) => holdfast(redisUrl, {}),
  "near-cache": (redisUrl) => holdfast(redisUrl, { isNear: true }),
  lazy: (redisUrl) => holdfast(redisUrl, { isLazy: true }),
});

/**
 * @param {string} redisUrl
 * @param {boolean} tuned see `nodeRedis`
 */
async function peer(redisUrl, tuned) {
  const app = express();
  const session = requireUntyped("express-session");
  const { RedisStore } = await import("connect-redis");
  const store = new RedisStore({ client: await nodeRedis(redisUrl, tuned) });
  app.use(session({ store, secret, resave: false, saveUninitialized: false }));
  routes(
    app,
    (request) =>
      new Promise((resolve, reject) => {
        request.session.regenerate((/** @type {unknown} */ error) => (error ? reject(error) : resolve()));
      }),
  );
  return listen(app);
}

/**
 * @param {string} redisUrl
 * @param {import("./server.mjs").Variant} variant
 */
async function holdfast(redisUrl, variant) {
  const app = express();
  const { session } = await import("holdfast/express");
  const { sessionOf } = await import("holdfast");
  app.use(session(await holdfastOptions(redisUrl, variant)));
  if (variant.isLazy) lazyRoutes(app, sessionOf);
  else routes(app, (request) => request.session.regenerate());
  return listen(app);
}

/**
 * The same handlers for both session libraries.
 *
 * @param {import("express").Express} app
 * @param {(request: any) => Promise<void>} regenerate
 */
function routes(app, regenerate) {
  app.get("/page", (_request, response) => void response.json(page));
  app.get("/read", (/** @type {any} */ request, response) => {
    const user = request.session.user;
    if (user === undefined) return void response.status(401).end();
    response.json({ user: user.name });
  });
  app.post("/write", (/** @type {any} */ request, response) => {
    const session = request.session;
    if (session.user === undefined) return void response.status(401).end();
    session.views += 1;
    response.json({ views: session.views });
  });
  app.post("/login", async (/** @type {any} */ request, response) => {
    await regenerate(request);
    Object.assign(request.session, signedIn());
    response.json({ user: request.session.user.name });
  });
}

/**
 * The same with `load: "lazy"`: who wants the session asks for it.
 *
 * @param {import("express").Express} app
 * @param {(request: any) => Promise<any>} sessionOf
 */
function lazyRoutes(app, sessionOf) {
  app.get("/page", (_request, response) => void response.json(page));
  app.get("/read", async (request, response) => {
    const { user } = await sessionOf(request);
    if (user === undefined) return void response.status(401).end();
    response.json({ user: user.name });
  });
  app.post("/write", async (request, response) => {
    const session = await sessionOf(request);
    if (session.user === undefined) return void response.status(401).end();
    session.views += 1;
    response.json({ views: session.views });
  });
  app.post("/login", async (/** @type {any} */ request, response) => {
    await (await sessionOf(request)).regenerate();
    Object.assign(request.session, signedIn());
    response.json({ user: request.session.user.name });
  });
}

/**
 * @param {import("express").Express} app
 * @returns {Promise<number>} the port
 */
function listen(app) {
  return new Promise((resolve) => {
    const server = app.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}
