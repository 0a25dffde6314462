// @ts-check
/**
 * Fastify 5: bare, @fastify/session (twice) and holdfast (three times).
 *
 * The peer is @fastify/session with @fastify/cookie and connect-redis over node-redis, as the READMEs show it:
 * `saveUninitialized: false`, `cookie.secure: false` as the bench speaks plain HTTP, `rolling` left on (its default).
 * It writes the whole record back and sets the cookie again on every request that carries a session.
 * `peer-tuned` is the same with a cheaper Redis client (`nodeRedis` in server.mjs).
 */
import fastify from "fastify";
import { holdfastOptions, nodeRedis, page, secret, signedIn, start } from "./server.mjs";

await start({
  async bare() {
    const app = fastify();
    const session = signedIn();
    app.get("/page", async () => page);
    app.get("/read", async () => ({ user: session.user.name }));
    app.post("/write", async () => {
      session.views += 1;
      return { views: session.views };
    });
    app.post("/login", async () => {
      Object.assign(session, signedIn());
      return { user: session.user.name };
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
  const app = fastify();
  const { RedisStore } = await import("connect-redis");
  const store = new RedisStore({ client: await nodeRedis(redisUrl, tuned) });
  await app.register((await import("@fastify/cookie")).fastifyCookie);
  await app.register((await import("@fastify/session")).fastifySession, {
    store,
    secret,
    saveUninitialized: false,
    cookie: { secure: false },
  });
  routes(app);
  return listen(app);
}

/**
 * @param {string} redisUrl
 * @param {import("./server.mjs").Variant} variant
 */
async function holdfast(redisUrl, variant) {
  const app = fastify();
  const { session } = await import("holdfast/fastify");
  const { sessionOf } = await import("holdfast");
  await app.register(session, await holdfastOptions(redisUrl, variant));
  if (variant.isLazy) lazyRoutes(app, sessionOf);
  else routes(app);
  return listen(app);
}

/**
 * The same handlers for both session libraries.
 *
 * @param {import("fastify").FastifyInstance} app
 */
function routes(app) {
  app.get("/page", async () => page);
  app.get("/read", async (/** @type {any} */ request, reply) => {
    const user = request.session.user;
    if (user === undefined) return reply.code(401).send();
    return { user: user.name };
  });
  app.post("/write", async (/** @type {any} */ request, reply) => {
    const session = request.session;
    if (session.user === undefined) return reply.code(401).send();
    session.views += 1;
    return { views: session.views };
  });
  app.post("/login", async (/** @type {any} */ request) => {
    await request.session.regenerate();
    Object.assign(request.session, signedIn());
    return { user: request.session.user.name };
  });
}

/**
 * The same with `load: "lazy"`: who wants the session asks for it.
 *
 * @param {import("fastify").FastifyInstance} app
 * @param {(request: any) => Promise<any>} sessionOf
 */
function lazyRoutes(app, sessionOf) {
  app.get("/page", async () => page);
  app.get("/read", async (request, reply) => {
    const { user } = await sessionOf(request);
    if (user === undefined) return reply.code(401).send();
    return { user: user.name };
  });
  app.post("/write", async (request, reply) => {
    const session = await sessionOf(request);
    if (session.user === undefined) return reply.code(401).send();
    session.views += 1;
    return { views: session.views };
  });
  app.post("/login", async (/** @type {any} */ request) => {
    await (await sessionOf(request)).regenerate();
    Object.assign(request.session, signedIn());
    return { user: request.session.user.name };
  });
}

/**
 * @param {import("fastify").FastifyInstance} app
 * @returns {Promise<number>} the port
 */
async function listen(app) {
  return Number(new URL(await app.listen({ host: "127.0.0.1", port: 0 })).port);
}
