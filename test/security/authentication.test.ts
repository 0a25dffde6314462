/** When a user last proved who they are, and the guards that ask for it again before what is sensitive. */
import { createServer } from "node:http";
import express, { type NextFunction, type Request, type Response } from "express";
import express4 from "express4";
import Fastify from "fastify";
import Koa from "koa";
import { describe, expect, it, onTestFinished } from "vitest";
import * as onExpress from "../../adapters/express.ts";
import * as onFastify from "../../adapters/fastify.ts";
import * as onKoa from "../../adapters/koa.ts";
import { createSessions, isFresh, memoryStore, type SessionOptions, type Sessions } from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { Browser } from "../support/browser.ts";
import { Client } from "../support/exchange.ts";
import { listen, type RunningApp } from "../support/listen.ts";

const secret = "a secret of at least thirty-two characters";
const minute = 60_000;

function setUp(options: Partial<SessionOptions> = {}) {
  const clock = manualClock();
  const sessions = createSessions({ secret, store: memoryStore({ clock: () => clock.now() }), ...options });
  return { clock, sessions, client: new Client(sessions) };
}

describe("session.authenticatedAt", () => {
  it("[ASVS4 3.7.1] is null until the first login, and says when the last one was, by the store's clock", async () => {
    const { clock, client, sessions } = setUp();
    await client.request((session) => {
      session.cart = ["a book"];
      expect(session.authenticatedAt).toBeNull();
    });
    clock.advance(minute);
    await client.request(async (session) => {
      expect(session.authenticatedAt).toBeNull();
      await session.renew();
      session.user = "ada";
      expect(session.authenticatedAt).toBe(clock.now());
    });
    const login = clock.now();
    clock.advance(20 * minute);
    let id = "";
    await client.request((session) => {
      session.theme = "dark";
      expect(session.authenticatedAt).toBe(login);
      id = session.id;
    });
    expect((await sessions.get(id))?.authenticatedAt).toBe(login);
    await client.request((session) => session.renew());
    await client.request((session) => expect(session.authenticatedAt).toBe(clock.now()));
  });

  it("is set by a login on a new session, by regenerate(), and survives a timed rotation", async () => {
    const { clock, client } = setUp({ renewalTimeout: minute });
    await client.request(async (session) => {
      await session.renew();
      session.user = "ada";
    });
    const login = clock.now();
    const before = client.cookie;
    clock.advance(2 * minute);
    await client.request((session) => expect(session.user).toBe("ada"));
    expect(client.cookie).not.toBe(before);
    await client.request((session) => expect(session.authenticatedAt).toBe(login));
    const request = await client.arrive();
    await request.session.regenerate();
    const next = await request.visit.load();
    Object.assign(next, { user: "grace" });
    expect(next.authenticatedAt).toBe(clock.now());
    await client.leave(request);
    await client.request((session) => expect(session.authenticatedAt).toBe(clock.now()));
  });

  it("[ASVS4 3.7.1] stays where a change of rights, and no login, gave the session its new id", async () => {
    const { clock, client, sessions } = setUp({ ttl: 30 * minute, absoluteTimeout: 60 * minute });
    await client.request(async (session) => {
      await session.renew();
      session.user = "ada";
    });
    const login = clock.now();
    const before = client.twin();
    clock.advance(20 * minute);
    let id = "";
    await client.request(async (session) => {
      const { id: earlier } = session;
      session.theme = "dark";
      await session.renew({ login: false });
      id = session.id;
      expect(id).not.toBe(earlier);
      expect(session.authenticatedAt).toBe(login);
      expect(isFresh(session, "15m")).toBe(false);
    });
    expect(await sessions.get(id)).toMatchObject({
      data: { user: "ada", theme: "dark" },
      createdAt: login,
      authenticatedAt: login,
      absoluteExpiresAt: login + 60 * minute,
    });
    await before.request((session) => expect(session.user).toBeUndefined());
    await client.request((session) => session.renew());
    await client.request((session) => {
      expect(session.authenticatedAt).toBe(clock.now());
      expect(session.absoluteExpiresAt).toBe(clock.now() + 60 * minute);
    });
  });

  it("is a login's where another user came with the new id, and nobody's on a session that nobody logged in", async () => {
    const { clock, client } = setUp();
    const told: unknown[] = [];
    await client.request(async (session) => {
      session.cart = ["a book"];
      await session.renew({ login: false });
      await session.save();
      await new Promise<void>((resolve) => {
        void session.renew({ login: false }, (...answer: unknown[]) => {
          told.push(answer);
          resolve();
        });
      });
      expect(session.authenticatedAt).toBeNull();
    });
    expect(told).toEqual([[null, undefined]]);
    await client.request((session) => {
      expect(session).toMatchObject({ cart: ["a book"], authenticatedAt: null });
      session.principal = "ada";
      return session.renew({ login: false });
    });
    await client.request((session) => expect(session.authenticatedAt).toBe(clock.now()));
  });

  it("revives no session that has ended: a change of rights is no login", async () => {
    const { client } = setUp();
    await client.request((session) => session.renew().then(() => Object.assign(session, { user: "ada" })));
    const late = await client.arrive();
    await client.twin().request((session) => session.destroy());
    await late.session.reload().catch(() => {});
    await late.session.renew({ login: false });
    Object.assign(late.session, { role: "admin" });
    await client.leave(late);
    await client.request((session) => expect({ ...session }).toEqual({}));
  });

  it("stays away with the login that a logout in another tab has overtaken", async () => {
    const { client } = setUp();
    await client.request((session) => session.renew().then(() => Object.assign(session, { user: "ada" })));
    await client.request((session) => session.destroy());
    await client.request((session) => expect(session.authenticatedAt).toBeNull());
  });

  it("is what isFresh() measures, to the millisecond", async () => {
    const { clock, sessions } = setUp();
    const { cookie } = await signIn(sessions, { user: "ada" });
    const { session } = await new Client(sessions, cookie).arrive();
    clock.advance(15 * minute);
    expect(isFresh(session, "15m")).toBe(true);
    clock.advance(1);
    expect(isFresh(session, "15m")).toBe(false);
    expect(isFresh(session, "1h")).toBe(true);
    expect(() => isFresh(session, "a while" as "1h")).toThrow(expect.objectContaining({ code: "ERR_SESSION_OPTION" }));
  });

  it("can't be written by the app", async () => {
    const { client } = setUp();
    await client.request((session) => {
      expect(() => Object.assign(session, { authenticatedAt: 5 })).toThrow(
        expect.objectContaining({ code: "ERR_SESSION_RESERVED_KEY" }),
      );
    });
  });
});

/** The same app in each framework: a login page, a page that anybody may see, and a payment behind the guard. */
type Start = (sessions: Sessions) => Promise<RunningApp>;

function expressApp(framework: typeof express): Start {
  return (sessions) => {
    const app = framework();
    app.use(onExpress.session(sessions));
    app.post("/login", async (req, res) => {
      await req.session.renew();
      res.send("in");
    });
    app.get("/", (_req, res) => void res.send("home"));
    app.post("/pay", onExpress.requireFresh("15m"), (_req, res) => void res.send("paid"));
    app.use((error: { code?: string; status?: number }, _req: Request, res: Response, _next: NextFunction) => {
      res.status(error.status ?? 500).send(error.code);
    });
    return listen(createServer(app));
  };
}

const apps: Record<string, Start> = {
  "Express 5": expressApp(express),
  "Express 4": expressApp(express4 as unknown as typeof express), // the same API as far as used here
  Koa: (sessions) => {
    const app = new Koa();
    app.use(async (ctx, next) => {
      try {
        await next();
      } catch (error) {
        const { status = 500, code } = error as { status?: number; code?: string }; // a SessionError's
        ctx.status = status;
        ctx.body = code;
      }
    });
    app.use(onKoa.session(sessions));
    const guard = onKoa.requireFresh("15m");
    app.use(async (ctx) => {
      if (ctx.path === "/login") {
        await ctx.session.renew();
        ctx.body = "in";
      } else if (ctx.path === "/pay") {
        await guard(ctx, async () => {
          ctx.body = "paid";
        });
      } else ctx.body = "home";
    });
    return listen(createServer(app.callback()));
  },
  Fastify: async (sessions) => {
    const app = Fastify({ forceCloseConnections: true });
    await app.register(onFastify.session, { sessions });
    app.setErrorHandler((error: { code?: string; statusCode?: number }, _request, reply) =>
      reply.code(error.statusCode ?? 500).send(error.code),
    );
    app.post("/login", async (request) => {
      await request.session.renew();
      return "in";
    });
    app.get("/", async () => "home");
    app.post("/pay", { onRequest: onFastify.requireFresh("15m") }, async () => "paid");
    const url = await app.listen({ port: 0, host: "127.0.0.1" });
    return { url, port: Number(new URL(url).port), close: () => app.close() };
  },
};

describe.each(Object.entries(apps))("requireFresh() in %s", (_name, start) => {
  it.each(["eager", "lazy"] as const)(
    "[ASVS5 7.5.1] asks for a login again before what is sensitive, and only there (load: %s)",
    async (load) => {
      const clock = manualClock();
      // The routes use the session, which under "lazy" they may only once it is loaded: the guard loads it.
      const sessions = createSessions({ secret, store: memoryStore({ clock: () => clock.now() }), load });
      const app = await start(sessions);
      onTestFinished(() => app.close());
      const anonymous = await new Browser(app.url).get("/pay", { method: "POST" });
      expect([anonymous.status, anonymous.text]).toEqual([401, "ERR_SESSION_NOT_FRESH"]);
      const browser = new Browser(app.url);
      const { cookie } = await signIn(sessions, { user: "ada" });
      browser.cookies.set("sid", cookie.slice("sid=".length));
      expect((await browser.get("/pay", { method: "POST" })).text).toBe("paid");
      clock.advance(15 * minute + 1);
      const stale = await browser.get("/pay", { method: "POST" });
      expect([stale.status, stale.text]).toEqual([401, "ERR_SESSION_NOT_FRESH"]);
      expect((await browser.get("/")).text).toBe("home");
      if (load === "lazy") return;
      await browser.get("/login", { method: "POST" });
      expect((await browser.get("/pay", { method: "POST" })).text).toBe("paid");
    },
  );

  it("refuses at start-up what is no duration", () => {
    for (const { requireFresh } of [onExpress, onKoa, onFastify]) {
      expect(() => requireFresh("soon" as "1h")).toThrow(expect.objectContaining({ code: "ERR_SESSION_OPTION" }));
    }
  });
});
