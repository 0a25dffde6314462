/**
 * The three frameworks behind one small face, for tests that hold in all of them: the same routes on Express, Koa and
 * Fastify, over real sockets. Says nothing about what a route does. The adapter contract has drivers of its own.
 */
import { createServer } from "node:http";
import { Readable } from "node:stream";
import express, { type NextFunction, type Request, type Response } from "express";
import Fastify from "fastify";
import Koa from "koa";
import { session as expressSession } from "../../adapters/express.ts";
import { session as fastifySession } from "../../adapters/fastify.ts";
import { session as koaSession } from "../../adapters/koa.ts";
import type { Session, Sessions } from "../../src/index.ts";
import { listen, type RunningApp } from "./listen.ts";

/** The session as these routes see it. */
export type AnySession = Session & Record<string, unknown>;

/** What a route gets: the framework's own session property, read at each access, and the query. */
export interface Call {
  readonly session: AnySession;
  readonly query: URLSearchParams;
}

/** What a route gives: text, an object (JSON, 200), a stream, or a redirect. */
export type Given = string | object | { redirect: string };

/** Routes by exact path. */
export type Routes = Record<string, (call: Call) => Given | Promise<Given>>;

/** One framework. */
export interface Framework {
  readonly name: string;
  start(sessions: Sessions, routes: Routes): Promise<RunningApp>;
}

function callOf(holder: object, url: string): Call {
  const property = holder as { session: AnySession }; // put there by the adapter
  return {
    get session() {
      return property.session;
    },
    query: new URL(url, "http://localhost").searchParams,
  };
}

function locationOf(given: Given): string | undefined {
  return typeof given === "object" && "redirect" in given ? String(given.redirect) : undefined;
}

const onExpress: Framework = {
  name: "Express",
  async start(sessions, routes) {
    const app = express();
    app.use(expressSession(sessions));
    for (const [path, route] of Object.entries(routes)) {
      app.all(path, async (request, response) => {
        const given = await route(callOf(request, request.originalUrl));
        const location = locationOf(given);
        if (location !== undefined) response.redirect(location);
        else if (given instanceof Readable) given.pipe(response);
        else response.send(given);
      });
    }
    app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
      response.status(statusOf(error)).send(codeOf(error));
    });
    return listen(createServer(app));
  },
};

const onKoa: Framework = {
  name: "Koa",
  async start(sessions, routes) {
    const app = new Koa();
    app.silent = true;
    app.use(async (ctx, next) => {
      try {
        await next();
      } catch (error) {
        ctx.status = statusOf(error);
        ctx.body = codeOf(error);
      }
    });
    app.use(koaSession(sessions));
    app.use(async (ctx) => {
      const given = await routes[ctx.path]?.(callOf(ctx, ctx.url));
      const location = given && locationOf(given);
      if (location === undefined) ctx.body = given;
      else ctx.redirect(String(location));
    });
    return listen(createServer(app.callback()));
  },
};

const onFastify: Framework = {
  name: "Fastify",
  async start(sessions, routes) {
    const app = Fastify({ forceCloseConnections: true });
    await app.register(fastifySession, { sessions });
    app.setErrorHandler((error, _request, reply) => reply.code(statusOf(error)).send(codeOf(error)));
    for (const [path, route] of Object.entries(routes)) {
      app.all(path, async (request, reply) => {
        const given = await route(callOf(request, request.url));
        const location = locationOf(given);
        return location === undefined ? reply.send(given) : reply.redirect(location);
      });
    }
    const url = await app.listen({ port: 0, host: "127.0.0.1" });
    return { url, port: Number(new URL(url).port), close: () => app.close() };
  },
};

/** All three, in the order of the README. */
export const frameworks: readonly Framework[] = [onExpress, onKoa, onFastify];

function statusOf(error: unknown): number {
  return Number((error as { status?: unknown }).status ?? 500); // a SessionError's, or none
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown }).code ?? error); // the same
}
