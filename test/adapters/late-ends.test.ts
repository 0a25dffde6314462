/** A handler that goes on after its client went away, and answers by hand, into nothing: what it changes is saved. */
import { createServer, type ServerResponse } from "node:http";
import express from "express";
import Fastify from "fastify";
import Koa from "koa";
import { describe, expect, it, onTestFinished } from "vitest";
import { session as onExpress } from "../../adapters/express.ts";
import { session as onFastify } from "../../adapters/fastify.ts";
import { session as onKoa } from "../../adapters/koa.ts";
import { createSessions, memoryStore, type Sessions } from "../../src/index.ts";
import { Browser } from "../support/browser.ts";
import { type Deferred, deferred, until } from "../support/deferred.ts";
import { listen, type RunningApp } from "../support/listen.ts";
import { probeStore } from "../support/probe-store.ts";

/** What the handler of `/work` does with its session and Node's response; it has left the answer to itself. */
type Work = (holder: { session: object }, response: ServerResponse) => unknown;

type Start = (sessions: Sessions, work: Work) => Promise<RunningApp>;

const frameworks: Record<string, Start> = {
  Express: async (sessions, work) => {
    const app = express().set("env", "test");
    app.use(onExpress(sessions));
    app.get("/set", (request, response) => response.json(Object.assign(request.session, { user: "ada" })));
    app.get("/read", (request, response) => response.json(request.session));
    app.get("/work", (request, response) => void work(request, response));
    return listen(createServer(app));
  },
  "Koa, ctx.respond = false": async (sessions, work) => {
    const app = new Koa();
    app.silent = true;
    app.use(onKoa(sessions));
    app.use((ctx) => {
      if (ctx.path === "/set") ctx.body = Object.assign(ctx.session, { user: "ada" });
      else if (ctx.path === "/read") ctx.body = { ...ctx.session };
      else {
        ctx.respond = false;
        void work(ctx, ctx.res);
      }
    });
    return listen(createServer(app.callback()));
  },
  "Fastify, reply.hijack()": async (sessions, work) => {
    const app = Fastify({ forceCloseConnections: true });
    await app.register(onFastify, { sessions });
    app.get("/set", async (request) => Object.assign(request.session, { user: "ada" }));
    app.get("/read", async (request) => ({ ...request.session }));
    app.get("/work", (request, reply) => {
      reply.hijack();
      void work(request, reply.raw);
    });
    const url = await app.listen({ port: 0, host: "127.0.0.1" });
    return { url, port: Number(new URL(url).port), close: () => app.close() };
  },
};

interface Doors {
  entered: Deferred<void>;
  gone: Deferred<void>;
}

/** Ways to go on after the client went away. */
const works: Record<string, (doors: Doors) => Work> = {
  "that had sent nothing": ({ entered, gone }) => {
    return async (holder, response) => {
      response.once("close", gone.resolve);
      entered.resolve();
      await gone.promise;
      // After whatever the adapter does when the response closes.
      await new Promise((resolve) => setImmediate(resolve));
      Object.assign(holder.session, { after: "the client left" });
      response.end("nobody reads this");
    };
  },
  "in the middle of a stream": ({ entered, gone }) => {
    return async (holder, response) => {
      response.once("close", gone.resolve);
      response.write("one ");
      entered.resolve();
      await gone.promise;
      await new Promise((resolve) => setImmediate(resolve));
      Object.assign(holder.session, { after: "the client left" });
      response.write("two");
      response.end();
    };
  },
};

describe.each(Object.entries(frameworks))("%s", (_, start) => {
  it.each(Object.entries(works))("a client that went away from an answer %s", async (_what, work) => {
    const doors: Doors = { entered: deferred(), gone: deferred() };
    const store = probeStore(memoryStore());
    const sessions = createSessions({ secret: "a secret of the tests of late ends, long", store });
    const app = await start(sessions, work(doors));
    onTestFinished(async () => {
      await app.close();
      await sessions.close();
    });
    const browser = new Browser(app.url);
    await browser.get("/set");
    store.forget();
    const client = new AbortController();
    const answer = browser.get("/work", { signal: client.signal }).catch(() => "gone");
    await doors.entered.promise;
    client.abort();
    expect(await answer).toBe("gone");
    await until(() => store.calls.some(({ verb, settled }) => verb === "write" && settled), "the late change");
    expect((await browser.get("/read")).json()).toEqual({ user: "ada", after: "the client left" });
    expect(store.count("write")).toBe(1);
  });
});
