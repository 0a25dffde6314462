/**
 * One route of the response matrix, run by Express, Koa and Fastify, each with its own session adapter or, for
 * comparison, without one. The hosts tell what the app saw: what its handlers noted and what its error handling got.
 * Called by `response-matrix.ts`.
 */
import { createServer, type Server } from "node:http";
import express, { type NextFunction, type Request, type RequestHandler, type Response } from "express";
import express4 from "express4";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import Koa from "koa";
import { session as expressSession } from "../../adapters/express.ts";
import { session as fastifySession } from "../../adapters/fastify.ts";
import { session as koaSession } from "../../adapters/koa.ts";
import type { Session, Sessions } from "../../src/index.ts";
import { listen, type RunningApp } from "./listen.ts";

/** What a row's handler does with the session when it calls `touch()`. */
export type Act = "write" | "read" | "none";

/** What a handler has besides its framework's own. */
export interface Scene {
  /** Uses the session as the play demands; nothing where the app has none. */
  touch(): void;
  /** `session.save()`, where there is a session to be saved. */
  save(): Promise<void>;
  /** Notes something that the app saw: the same with and without sessions. */
  note(what: string): void;
}

/** Other middleware, mounted before or after the session's. */
export interface Wrapping {
  express: RequestHandler;
  koa: Koa.Middleware;
  fastify(app: FastifyInstance): unknown;
}

/** One way to answer, written as each framework's users would. A framework that lacks it has no handler. */
export interface Handlers {
  express?: (request: Request, response: Response, scene: Scene, next: NextFunction) => unknown;
  koa?: (ctx: Koa.Context, scene: Scene) => unknown;
  fastify?: (request: FastifyRequest, reply: FastifyReply, scene: Scene) => unknown;
  before?: Wrapping;
  after?: Wrapping;
}

/** A running app: `/row` is the row's, `/set` and `/read` write and show the session. */
export interface Stage extends RunningApp {
  act: Act;
  /** What handlers noted, in order. */
  readonly seen: string[];
  /** The messages of the errors that reached the app's error handling, in order. */
  readonly errors: string[];
  /** The HTTP/1 server. */
  readonly server?: Server;
}

/** A framework. */
export interface Host {
  readonly name: string;
  readonly framework: "express" | "koa" | "fastify";
  /** Starts an app; without `sessions` it has no session middleware. */
  start(row: Handlers, sessions: Sessions | undefined): Promise<Stage>;
  /** How the row is asked for where that is not HTTP/1.1: the answer in the form of that. `onHead`: its head is here. */
  ask?(port: number, row: Question, cookie: string | undefined, onHead: () => void): Promise<string>;
}

/** What to ask for. */
export interface Question {
  /** Default: GET. */
  method?: string;
  /** Header lines beside `Host`, `Connection` and `Cookie`. */
  headers?: readonly string[];
  /** What follows the head. */
  body?: string;
}

/** Notes what the app sees. */
export class Director {
  act: Act = "none";
  readonly seen: string[] = [];
  readonly errors: string[] = [];

  scene(session: () => Session | undefined): Scene {
    return {
      touch: () => {
        if (this.act === "write") Object.assign(session() ?? {}, { hit: true });
        else if (this.act === "read") Object.keys(session() ?? {});
      },
      save: async () => void (this.act !== "none" && (await session()?.save())),
      note: (what) => void this.seen.push(what),
    };
  }

  failed(error: unknown): void {
    this.errors.push(error instanceof Error ? error.message : String(error));
  }

  stage(app: RunningApp, server?: Server): Stage {
    return Object.assign(this, app, server && { server });
  }
}

function expressHost(name: string, make: typeof express): Host {
  return {
    name,
    framework: "express",
    async start(row, sessions) {
      const director = new Director();
      const app = make();
      if (row.before) app.use(row.before.express);
      if (sessions) app.use(expressSession(sessions));
      if (row.after) app.use(row.after.express);
      app.all("/row", (request, response, next) => {
        const scene = director.scene(() => request.session);
        const given = row.express?.(request, response, scene, next);
        // Express 4 leaves the rejections of async handlers to the app.
        return given instanceof Promise && make === express4 ? given.catch(next) : given;
      });
      app.get("/set", (request, response) => response.json(Object.assign(request.session, { user: "ada" })));
      app.get("/read", (request, response) => response.json(request.session));
      app.use(((error, _request, _response, next) => {
        director.failed(error);
        next(error);
      }) satisfies express.ErrorRequestHandler);
      const server = createServer(app);
      return director.stage(await listen(server), server);
    },
  };
}

const koaHost: Host = {
  name: "Koa 3",
  framework: "koa",
  async start(row, sessions) {
    const director = new Director();
    const app = new Koa();
    app.on("error", (error) => director.failed(error));
    if (row.before) app.use(row.before.koa);
    if (sessions) app.use(koaSession(sessions));
    if (row.after) app.use(row.after.koa);
    app.use(async (ctx) => {
      if (ctx.path === "/row") {
        await row.koa?.(
          ctx,
          director.scene(() => ctx.session),
        );
      } else if (ctx.path === "/set") ctx.body = Object.assign(ctx.session, { user: "ada" });
      else if (ctx.path === "/read") ctx.body = { ...ctx.session };
    });
    const server = createServer(app.callback());
    return director.stage(await listen(server), server);
  },
};

const fastifyHost: Host = {
  name: "Fastify 5",
  framework: "fastify",
  async start(row, sessions) {
    const director = new Director();
    const app = Fastify({ forceCloseConnections: true });
    await row.before?.fastify(app);
    if (sessions) await app.register(fastifySession, { sessions });
    await row.after?.fastify(app);
    app.addHook("onError", async (_request, _reply, error) => director.failed(error));
    app.all("/row", (request, reply) =>
      row.fastify?.(
        request,
        reply,
        director.scene(() => request.session),
      ),
    );
    app.get("/set", async (request) => Object.assign(request.session, { user: "ada" }));
    app.get("/read", async (request) => ({ ...request.session }));
    const url = await app.listen({ port: 0, host: "127.0.0.1" });
    return director.stage({ url, port: Number(new URL(url).port), close: () => app.close() }, app.server);
  },
};

/** The frameworks of the matrix. */
export const hosts: readonly Host[] = [
  expressHost("Express 5", express),
  expressHost("Express 4", express4),
  koaHost,
  fastifyHost,
];
