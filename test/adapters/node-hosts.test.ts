/** The Express middleware in hosts that are not Express: it needs Node's API only. */
import "reflect-metadata";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { type INestApplication, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import connect from "connect";
import type { Request, Response } from "express";
import { Server as SocketServer } from "socket.io";
import { io as socketClient } from "socket.io-client";
import { describe, expect, it, onTestFinished } from "vitest";
import { type Middleware, session } from "../../adapters/express.ts";
import { createSessions, memoryStore, type Sessions, type UserSession } from "../../src/index.ts";
import { Browser } from "../support/browser.ts";
import { listen } from "../support/listen.ts";
import { type ProbeStore, probeStore } from "../support/probe-store.ts";

const secret = "the plain hosts' signing key, thirty-two or more";

interface Engine {
  store: ProbeStore;
  sessions: Sessions;
  middleware: Middleware;
}

function engine(): Engine {
  const store = probeStore(memoryStore());
  const sessions = createSessions({ secret, store });
  return { store, sessions, middleware: session(sessions) };
}

/** Counts visits, in Node's own terms. */
function count(request: IncomingMessage, response: ServerResponse): void {
  const { session: own } = request as IncomingMessage & { session: UserSession & { views?: number } }; // the middleware ran
  own.views = (own.views ?? 0) + 1;
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ views: own.views }));
}

/** The story that every host must be able to tell. */
async function tellStory(browser: Browser, { store }: Engine): Promise<void> {
  expect((await browser.get("/")).json()).toEqual({ views: 1 });
  expect((await browser.get("/")).json()).toEqual({ views: 2 });
  store.failing.add("write");
  const unsaved = await browser.get("/");
  expect([unsaved.status, unsaved.setCookies]).toEqual([503, []]);
  store.failing.clear();
  store.failing.add("read");
  expect((await browser.get("/")).status).toBe(503);
  store.failing.clear();
  expect((await browser.get("/")).json()).toEqual({ views: 3 });
}

describe("hosts of the Express middleware", () => {
  it("connect", async () => {
    const own = engine();
    const app = connect();
    app.use(own.middleware);
    app.use(count);
    const running = await listen(createServer(app));
    onTestFinished(() => running.close());
    await tellStory(new Browser(running.url), own);
  });

  it("connect: a load that fails goes to next(error) at once", async () => {
    const own = engine();
    const app = connect();
    app.use(own.middleware);
    app.use("/untouched", (_request: IncomingMessage, response: ServerResponse) => response.end("served"));
    app.use(count);
    const running = await listen(createServer(app));
    onTestFinished(() => running.close());
    const browser = new Browser(running.url);
    await browser.get("/");
    own.store.failing.add("read");
    const answer = await browser.get("/untouched");
    expect([answer.status, answer.headers.has("retry-after")]).toEqual([503, true]);
  });

  it("plain node:http, called by hand", async () => {
    const own = engine();
    const server = createServer((request, response) => {
      own.middleware(request, response, (error) => {
        if (!error) return count(request, response);
        response.statusCode = (error as { status: number }).status; // a SessionError has one
        response.end("unavailable");
      });
    });
    const running = await listen(server);
    onTestFinished(() => running.close());
    await tellStory(new Browser(running.url), own);
  });

  it("plain node:http, with a next() that knows no errors: still no success that was not saved", async () => {
    const own = engine();
    const server = createServer((request, response) =>
      own.middleware(request, response, () => count(request, response)),
    );
    const running = await listen(server);
    onTestFinished(() => running.close());
    const browser = new Browser(running.url);
    own.store.failing.add("write");
    const answer = await browser.get("/");
    expect([answer.status, answer.setCookies]).toEqual([503, []]);
  });

  it("NestJS, by app.use", async () => {
    const own = engine();
    class AppModule {}
    Module({})(AppModule);
    const app: INestApplication = await NestFactory.create(AppModule, { logger: false });
    app.use(own.middleware);
    app.use("/", (request: Request, response: Response) => count(request, response));
    await app.listen(0, "127.0.0.1");
    onTestFinished(() => app.close());
    const { port } = app.getHttpServer().address() as AddressInfo; // a TCP server's
    await tellStory(new Browser(`http://127.0.0.1:${port}`), own);
  });

  it("plain node:http2, with a real client", async () => {
    const own = engine();
    const server = createHttp2Server((request, response) => {
      own.middleware(request, response, (error) => {
        if (error) {
          response.statusCode = 503;
          response.end("unavailable");
        } else {
          // HTTP/2's compatibility objects, used as HTTP/1's are.
          count(request as unknown as IncomingMessage, response as unknown as ServerResponse);
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const client = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`); // a TCP server's
    onTestFinished(() => {
      client.destroy();
      server.close();
    });
    const get = async (cookie: string): Promise<{ status: unknown; cookie: string; text: string }> => {
      const stream = client.request({ ":path": "/", cookie });
      const [headers] = await once(stream, "response");
      let text = "";
      for await (const part of stream) text += part;
      return { status: headers[":status"], cookie: String(headers["set-cookie"] ?? "").split(";")[0] ?? "", text };
    };
    const first = await get("theme=dark");
    expect(first).toMatchObject({ status: 200, text: '{"views":1}' });
    expect(await get(first.cookie)).toEqual({ status: 200, cookie: "", text: '{"views":2}' });
    own.store.failing.add("write");
    expect(await get(first.cookie)).toEqual({ status: 503, cookie: "", text: "unavailable" });
  });

  for (const transport of ["websocket", "polling"] as const) {
    it(`socket.io over ${transport}: io.engine.use gives the handshake its session, which can be saved for hours`, async () => {
      const own = engine();
      const app = connect();
      app.use(own.middleware);
      app.use(count);
      const server = createServer(app);
      const io = new SocketServer(server);
      io.engine.use(own.middleware);
      io.on("connection", async (socket) => {
        const request = socket.request as IncomingMessage & {
          session: UserSession & { views?: number; chat?: boolean };
        }; // ours
        const { views } = request.session;
        request.session.chat = true;
        socket.emit("views", views, await request.session.save());
      });
      const running = await listen(server);
      onTestFinished(async () => {
        await io.close();
        await running.close();
      });
      const browser = new Browser(running.url);
      await browser.get("/");
      const client = socketClient(running.url, {
        transports: [transport],
        extraHeaders: { cookie: browser.cookieHeader ?? "" },
      });
      onTestFinished(() => void client.disconnect());
      const greeting = await new Promise((resolve, reject) => {
        client.on("views", (...seen: unknown[]) => resolve(seen));
        client.on("connect_error", reject);
      });
      expect(greeting).toEqual([1, "saved"]);
      const [write] = own.store.calls.filter((call) => call.verb === "write");
      expect((await own.sessions.get(write?.key ?? ""))?.data).toEqual({ views: 1, chat: true });
    });
  }

  it("socket.io: a handshake without a session connects, and sets no cookie", async () => {
    const own = engine();
    const server = createServer();
    const io = new SocketServer(server);
    io.engine.use(own.middleware);
    io.on("connection", (socket) => {
      const { session: fresh } = socket.request as IncomingMessage & { session: UserSession }; // the middleware ran
      socket.emit("state", fresh.isNew);
    });
    const running = await listen(server);
    onTestFinished(async () => {
      await io.close();
      await running.close();
    });
    const client = socketClient(running.url, { transports: ["websocket"] });
    onTestFinished(() => void client.disconnect());
    expect(await new Promise((resolve) => client.on("state", resolve))).toBe(true);
    expect(own.store.count()).toBe(0);
  });
});
