/**
 * One small app with Passport, in Express, Koa and Fastify, on one shared store: the same routes, strategy and users.
 * Nothing of Passport is patched. For `test/adapters/passport.test.ts`.
 *
 * `/login?user=…[&keep=1]`, `/logout[?keep=1]`, `/me`, `/cart?item=…`, `/say?text=…` (flash) and `/heard`.
 */
import { createServer } from "node:http";
import fastifyFlash from "@fastify/flash";
import fastifyPassport from "@fastify/passport";
import connectFlash from "connect-flash";
import express, { type Request, type Response } from "express";
import Fastify from "fastify";
import Koa from "koa";
import { KoaPassport } from "koa-passport";
import passport from "passport";
import Custom from "passport-custom";
import { session as expressSession } from "../../adapters/express.ts";
import { session as fastifySession, passportDeserializer, passportSerializer } from "../../adapters/fastify.ts";
import { session as koaSession } from "../../adapters/koa.ts";
import type { Sessions } from "../../src/index.ts";
import { listen, type RunningApp } from "./listen.ts";

/** A user of these apps. */
export interface User {
  id: number;
  name: string;
}

/** What `/me` answers. */
export interface Me {
  user: string | null;
  id: string;
  keys: string[];
  cart: string | null;
}

const users: readonly User[] = [
  { id: 1, name: "ada" },
  { id: 2, name: "grace" },
];

function byId(id: unknown): User | undefined {
  return users.find((user) => user.id === id);
}

/** Who logs in stands in the query; a stand-in for a form. */
function strategy(): Custom {
  return new Custom((request, done) => {
    const { searchParams } = new URL(request.url, "http://localhost");
    done(null, users.find((user) => user.name === searchParams.get("user")) ?? false);
  });
}

function me(user: unknown, session: { id: string }): Me {
  const data = session as { id: string; cart?: string }; // what these apps store
  const name = (user as User | undefined | null)?.name ?? null; // the deserializers give nothing else
  return { user: name, id: data.id, keys: Object.keys(data).sort(), cart: data.cart ?? null };
}

/** connect-flash's method: queues a text, or takes those that are queued. Formatted: its other way needs Node < 23. */
type Flash = (type: string, format?: string, text?: string) => unknown;

function flashOf(holder: object): Flash {
  return (holder as { flash: Flash }).flash.bind(holder); // connect-flash has put it there
}

function prepare<P extends Pick<KoaPassport, "use" | "serializeUser" | "deserializeUser">>(target: P): P {
  target.use("custom", strategy());
  target.serializeUser((user: User, done) => done(null, user.id));
  target.deserializeUser((id: number, done) => done(null, byId(id)));
  return target;
}

/** The app in Express, with passport. */
export function expressApp(sessions: Sessions): Promise<RunningApp> {
  const app = express();
  // Passport's types ask for more of `done` than the functions above take.
  const auth = prepare(new passport.Passport() as unknown as KoaPassport) as unknown as passport.PassportStatic;
  app.use(expressSession(sessions));
  app.use(connectFlash());
  app.use(auth.initialize(), auth.session());
  const done = (request: Request, response: Response) => response.json(me(request.user, request.session));
  app.get("/login", (request, response, next) => {
    const options = { keepSessionInfo: "keep" in request.query };
    auth.authenticate("custom", options)(request, response, (error?: unknown) =>
      error ? next(error) : done(request, response),
    );
  });
  app.get("/logout", (request, response, next) => {
    request.logout({ keepSessionInfo: "keep" in request.query }, (error) =>
      error ? next(error) : done(request, response),
    );
  });
  app.get("/me", done);
  app.get("/cart", (request, response) => {
    Object.assign(request.session, { cart: request.query["item"] });
    done(request, response);
  });
  app.get("/say", (request, response) => {
    flashOf(request)("info", "%s", String(request.query["text"]));
    response.json({});
  });
  app.get("/heard", (request, response) => void response.json(flashOf(request)("info")));
  return listen(createServer(app));
}

/** The app in Koa, with koa-passport. */
export function koaApp(sessions: Sessions): Promise<RunningApp> {
  const app = new Koa();
  const auth = prepare(new KoaPassport());
  app.use(koaSession(sessions));
  app.use((ctx, next) => {
    connectFlash()(ctx, ctx.res, () => {});
    return next();
  });
  app.use(auth.initialize());
  app.use(auth.session());
  const done: Koa.Middleware = (ctx) => {
    ctx.body = me(ctx.state["user"], ctx.session);
  };
  const routes: Record<string, Koa.Middleware> = {
    "/login": (ctx) =>
      auth.authenticate("custom", { keepSessionInfo: "keep" in ctx.query })(ctx, async () => done(ctx, async () => {})),
    "/logout": async (ctx) => {
      await ctx["logout"]({ keepSessionInfo: "keep" in ctx.query });
      return done(ctx, async () => {});
    },
    "/me": done,
    "/cart": (ctx) => {
      Object.assign(ctx.session, { cart: ctx.query["item"] });
      return done(ctx, async () => {});
    },
    "/say": (ctx) => {
      flashOf(ctx)("info", "%s", String(ctx.query["text"]));
      ctx.body = {};
    },
    "/heard": (ctx) => {
      ctx.body = flashOf(ctx)("info");
    },
  };
  app.use((ctx, next) => routes[ctx.path]?.(ctx, next));
  return listen(createServer(app.callback()));
}

/** The app in Fastify, with @fastify/passport; `shared: false` leaves out the serializers that make its logins Passport's. */
export async function fastifyApp(sessions: Sessions, shared = true): Promise<RunningApp> {
  const app = Fastify({ forceCloseConnections: true });
  const auth = new fastifyPassport.Authenticator();
  await app.register(fastifySession, { sessions });
  await app.register(auth.initialize());
  await app.register(auth.secureSession());
  if (!app.hasRequestDecorator("flash")) await app.register(fastifyFlash);
  auth.use("custom", strategy() as unknown as Parameters<typeof auth.use>[1]); // Passport's strategies work unchanged
  if (shared) {
    auth.registerUserSerializer(passportSerializer((user: User) => user.id));
    auth.registerUserDeserializer(passportDeserializer((id: number) => byId(id) ?? null));
  } else {
    auth.registerUserSerializer(async (user: User) => user.id);
    auth.registerUserDeserializer(async (id: number) => byId(id) ?? null);
  }
  const logIn = [false, true].map((keepSessionInfo) => auth.authenticate("custom", { keepSessionInfo }));
  app.get<{ Querystring: { keep?: string } }>(
    "/login",
    {
      preValidation(request, reply) {
        const handler = logIn["keep" in (request.query as object) ? 1 : 0];
        return handler?.call(app, request, reply);
      },
    },
    async (request) => me(request.user, request.session),
  );
  app.get("/logout", async (request) => {
    await request.logout();
    return me(request.user, request.session);
  });
  app.get("/me", async (request) => me(request.user, request.session));
  app.get<{ Querystring: { item: string } }>("/cart", async (request) => {
    request.session.set("cart", request.query.item);
    return me(request.user, request.session);
  });
  app.get<{ Querystring: { text: string } }>("/say", async (request) => {
    request.flash("info", request.query.text);
    return {};
  });
  app.get("/heard", async (_request, reply) => reply.flash("info"));
  const url = await app.listen({ port: 0, host: "127.0.0.1" });
  return { url, port: Number(new URL(url).port), close: () => app.close() };
}
