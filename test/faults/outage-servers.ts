/**
 * The apps that an outage hits: the same five routes on Express 4, Express 5, Koa and Fastify, with the frameworks' own
 * error pages and async handlers, and a count of the requests in flight. Called by `outage-fleet.ts`.
 */
import { createServer, type Server } from "node:http";
import express, { type Express, type Request } from "express";
import express4 from "express4";
import Fastify, { type FastifyRequest } from "fastify";
import Koa from "koa";
import { session as expressSession } from "../../adapters/express.ts";
import { session as fastifySession } from "../../adapters/fastify.ts";
import { session as koaSession } from "../../adapters/koa.ts";
import type { Session, Sessions } from "../../src/index.ts";
import { listen, type RunningApp } from "../support/listen.ts";

/** A running app. */
export interface OutageServer extends RunningApp {
  /** Requests whose response is neither sent nor given up. */
  readonly inFlight: number;
}

/** A framework that can run the routes. */
export interface Framework {
  readonly name: string;
  start(sessions: Sessions): Promise<OutageServer>;
}

type Data = Session & Record<string, unknown>;

/** What `/read` answers. */
export interface Seen {
  id: string;
  user?: string;
  isDegraded: boolean;
  data: Record<string, unknown>;
}

/** `/public` never touches the session, `/skipped` has none, `/unwaited` saves without waiting. */
const routes: Record<string, (session: () => Data, url: string) => Promise<object>> = {
  "/public": async () => ({ page: "public" }),
  "/skipped": async () => ({ page: "skipped" }),
  "/read": async (session) => {
    const { id, isDegraded } = session();
    return { id, isDegraded, user: session()["user"], data: { ...session() } };
  },
  "/set": async (session, url) => {
    Object.assign(session(), Object.fromEntries(new URL(url, "http://localhost").searchParams));
    return { ok: true };
  },
  "/unwaited": async (session, url) => {
    session()["unwaited"] = url;
    void session().save();
    return { ok: true };
  },
};

function sessionIn(holder: object): Data {
  return (holder as { session: Data }).session; // the adapter has put it there
}

function countRequests(server: Server): { readonly inFlight: number } {
  let inFlight = 0;
  server.on("request", (_request, response) => {
    inFlight += 1;
    response.once("close", () => {
      inFlight -= 1;
    });
  });
  return {
    get inFlight() {
      return inFlight;
    },
  };
}

function counted(app: RunningApp, count: { readonly inFlight: number }): OutageServer {
  return {
    ...app,
    get inFlight() {
      return count.inFlight;
    },
  };
}

function onExpress(name: string, App: () => Express): Framework {
  return {
    name,
    async start(sessions) {
      const app = App();
      // Its error page writes to the console in every other environment.
      app.set("env", "test");
      app.use(expressSession(sessions));
      for (const [path, route] of Object.entries(routes)) {
        app.get(path, async (request: Request, response) => {
          response.json(await route(() => sessionIn(request), request.originalUrl));
        });
      }
      const server = createServer(app);
      const count = countRequests(server);
      return counted(await listen(server), count);
    },
  };
}

const onKoa: Framework = {
  name: "Koa 3",
  async start(sessions) {
    const app = new Koa();
    app.silent = true;
    app.use(koaSession(sessions));
    app.use(async (ctx) => {
      ctx.body = await routes[ctx.path]?.(() => sessionIn(ctx), ctx.url);
    });
    const server = createServer(app.callback());
    const count = countRequests(server);
    return counted(await listen(server), count);
  },
};

const onFastify: Framework = {
  name: "Fastify 5",
  async start(sessions) {
    const app = Fastify({ forceCloseConnections: true });
    await app.register(fastifySession, { sessions });
    for (const [path, route] of Object.entries(routes)) {
      app.get(path, (request: FastifyRequest) => route(() => sessionIn(request), request.url));
    }
    const count = countRequests(app.server);
    const url = await app.listen({ port: 0, host: "127.0.0.1" });
    return counted({ url, port: Number(new URL(url).port), close: () => app.close() }, count);
  },
};

/** The three in which a failed load fails the routes that touch the session, and no other. */
export const three: readonly Framework[] = [onExpress("Express 5", express), onKoa, onFastify];

/** Express 4, which does not catch what an async handler throws. */
export const expressFour: Framework = onExpress("Express 4", express4);
