/** Several engines on one request: the innermost is the session property, each one's session is saved once. */
import { createServer } from "node:http";
import express from "express";
import Fastify from "fastify";
import Koa from "koa";
import { describe, expect, it, onTestFinished } from "vitest";
import { session as onExpress } from "../../adapters/express.ts";
import { session as onFastify } from "../../adapters/fastify.ts";
import { session as onKoa } from "../../adapters/koa.ts";
import { createSessions, memoryStore, type Sessions } from "../../src/index.ts";
import { Browser } from "../support/browser.ts";
import { listen, type RunningApp } from "../support/listen.ts";
import { type ProbeStore, probeStore } from "../support/probe-store.ts";

/** Mounts the engines in their order; after each, `mark` writes its name into the session property as it stands. */
type Start = (mounts: readonly Sessions[]) => Promise<RunningApp>;

/** Notes which mounts saw this session, and gives what it has. */
function mark(holder: { session: object }, index: number): object {
  const session = holder.session as { seenBy?: number[] }; // put there by the adapter
  session.seenBy = [...new Set([...(session.seenBy ?? []), index])];
  return { ...session };
}

const frameworks: Record<string, Start> = {
  Express: async (mounts) => {
    const app = express().set("env", "test");
    for (const [index, sessions] of mounts.entries()) {
      app.use(onExpress(sessions), (request, _response, next) => {
        mark(request, index);
        next();
      });
    }
    app.get("/", (request, response) => response.json(request.session));
    return listen(createServer(app));
  },
  Koa: async (mounts) => {
    const app = new Koa();
    app.silent = true;
    for (const [index, sessions] of mounts.entries()) {
      app.use(onKoa(sessions));
      app.use((ctx, next) => {
        mark(ctx, index);
        return next();
      });
    }
    app.use((ctx) => {
      ctx.body = { ...ctx.session };
    });
    return listen(createServer(app.callback()));
  },
  Fastify: async (mounts) => {
    const app = Fastify({ forceCloseConnections: true });
    for (const [index, sessions] of mounts.entries()) {
      await app.register(onFastify, { sessions });
      app.addHook("onRequest", async (request) => void mark(request, index));
    }
    app.get("/", async (request) => ({ ...request.session }));
    const url = await app.listen({ port: 0, host: "127.0.0.1" });
    return { url, port: Number(new URL(url).port), close: () => app.close() };
  },
};

function engine(name: string): { sessions: Sessions; store: ProbeStore } {
  const store = probeStore(memoryStore());
  const secret = `the signing key of the engine that is called ${name}`;
  const sessions = createSessions({ secret, store, cookie: { name } });
  onTestFinished(() => sessions.close());
  return { sessions, store };
}

describe.each(Object.entries(frameworks))("%s", (_, start) => {
  it("engines A, B: each has a session of its own, the property is the inner one's", async () => {
    const [a, b] = [engine("a"), engine("b")];
    const app = await start([a.sessions, b.sessions]);
    onTestFinished(() => app.close());
    const browser = new Browser(app.url);
    for (let round = 0; round < 2; round++) {
      const answer = await browser.get("/");
      expect([answer.status, answer.json()]).toEqual([200, { seenBy: [1] }]);
      expect(answer.setCookies).toHaveLength(round === 0 ? 2 : 0);
    }
    expect([...browser.cookies.keys()].toSorted()).toEqual(["a", "b"]);
    // The second time nothing is new: read, and no more.
    for (const { store } of [a, b]) expect(store.calls.map(({ verb }) => verb)).toEqual(["write", "read"]);
  });

  it("engines A, B, A: the third mount passes the request through, B's session stays, each is saved once", async () => {
    const [a, b] = [engine("a"), engine("b")];
    const app = await start([a.sessions, b.sessions, a.sessions]);
    onTestFinished(() => app.close());
    const browser = new Browser(app.url);
    for (let round = 0; round < 2; round++) {
      const answer = await browser.get("/");
      expect([answer.status, answer.json()]).toEqual([200, { seenBy: [1, 2] }]);
      expect(answer.setCookies).toHaveLength(round === 0 ? 2 : 0);
    }
    expect([...browser.cookies.keys()].toSorted()).toEqual(["a", "b"]);
    for (const { store } of [a, b]) expect(store.calls.map(({ verb }) => verb)).toEqual(["write", "read"]);
    const records = await Promise.all(
      [a, b].map(async ({ sessions, store }) => (await sessions.get(store.calls[0]?.key ?? ""))?.data),
    );
    expect(records).toEqual([{ seenBy: [0] }, { seenBy: [1, 2] }]);
  });

  it("engines A, B where both saves fail: one 503, no cookie of either", async () => {
    const [a, b] = [engine("a"), engine("b")];
    const app = await start([a.sessions, b.sessions]);
    onTestFinished(() => app.close());
    for (const { store } of [a, b]) store.failing.add("write");
    const answer = await new Browser(app.url).get("/");
    expect([answer.status, answer.setCookies]).toEqual([503, []]);
  });
});
