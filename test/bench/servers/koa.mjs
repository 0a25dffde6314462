// @ts-check
/**
 * Koa 3: bare, koa-session and holdfast (three times).
 *
 * The peer is koa-session with a store of three lines over ioredis (GET, SET PX, DEL), as its README asks for; all
 * options at their defaults (`rolling: false`, `renew: false`, signed cookies by `app.keys`). It reads the record on
 * every request that carries a cookie, never extends it, and keeps the old session's data over `regenerate()`, which
 * saves once more than the login's own save.
 */
import Koa from "koa";
import { holdfastOptions, page, secret, signedIn, start } from "./server.mjs";

await start({
  async bare() {
    const app = new Koa();
    const session = signedIn();
    app.use((ctx) => {
      switch (ctx.path) {
        case "/page":
          ctx.body = page;
          break;
        case "/read":
          ctx.body = { user: session.user.name };
          break;
        case "/write":
          session.views += 1;
          ctx.body = { views: session.views };
          break;
        case "/login":
          Object.assign(session, signedIn());
          ctx.body = { user: session.user.name };
          break;
      }
    });
    return listen(app);
  },

  async peer(redisUrl) {
    const app = new Koa();
    const { createSession } = await import("koa-session");
    const { Redis } = await import("ioredis");
    const redis = new Redis(redisUrl);
    app.keys = [secret];
    app.use(
      createSession(
        {
          store: {
            get: async (key) => JSON.parse((await redis.get(`koa:${key}`)) ?? "null"),
            set: async (key, data, maxAge) => {
              await redis.set(`koa:${key}`, JSON.stringify(data), "PX", Number(maxAge));
            },
            destroy: async (key) => {
              await redis.del(`koa:${key}`);
            },
          },
        },
        app,
      ),
    );
    routes(app);
    return listen(app);
  },

  holdfast: (redisUrl) => holdfast(redisUrl, {}),
  "near-cache": (redisUrl) => holdfast(redisUrl, { isNear: true }),
  lazy: (redisUrl) => holdfast(redisUrl, { isLazy: true }),
});

/**
 * @param {string} redisUrl
 * @param {import("./server.mjs").Variant} variant
 */
async function holdfast(redisUrl, variant) {
  const app = new Koa();
  const { session } = await import("holdfast/koa");
  const { sessionOf } = await import("holdfast");
  app.use(session(await holdfastOptions(redisUrl, variant)));
  if (variant.isLazy) lazyRoutes(app, sessionOf);
  else routes(app);
  return listen(app);
}

/**
 * The same handlers for both session libraries.
 *
 * @param {Koa} app
 */
function routes(app) {
  app.use(async (/** @type {any} */ ctx) => {
    switch (ctx.path) {
      case "/page":
        ctx.body = page;
        break;
      case "/read": {
        const user = ctx.session.user;
        if (user === undefined) ctx.status = 401;
        else ctx.body = { user: user.name };
        break;
      }
      case "/write": {
        const session = ctx.session;
        if (session.user === undefined) {
          ctx.status = 401;
          break;
        }
        session.views += 1;
        ctx.body = { views: session.views };
        break;
      }
      case "/login":
        await ctx.session.regenerate();
        Object.assign(ctx.session, signedIn());
        ctx.body = { user: ctx.session.user.name };
        break;
    }
  });
}

/**
 * The same with `load: "lazy"`: who wants the session asks for it.
 *
 * @param {Koa} app
 * @param {(context: any) => Promise<any>} sessionOf
 */
function lazyRoutes(app, sessionOf) {
  app.use(async (/** @type {any} */ ctx) => {
    switch (ctx.path) {
      case "/page":
        ctx.body = page;
        break;
      case "/read": {
        const { user } = await sessionOf(ctx);
        if (user === undefined) ctx.status = 401;
        else ctx.body = { user: user.name };
        break;
      }
      case "/write": {
        const session = await sessionOf(ctx);
        if (session.user === undefined) {
          ctx.status = 401;
          break;
        }
        session.views += 1;
        ctx.body = { views: session.views };
        break;
      }
      case "/login":
        await (await sessionOf(ctx)).regenerate();
        Object.assign(ctx.session, signedIn());
        ctx.body = { user: ctx.session.user.name };
        break;
    }
  });
}

/**
 * @param {Koa} app
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
