/** Express 4 and 5 keep the adapter contract; and what is Express's own: trust proxy, routers, several mounts. */
import { createServer } from "node:http";
import express, { type Express, type NextFunction, type Request, type Response } from "express";
import otherSessions from "express-session";
import express4 from "express4";
import { describe, expect, it, onTestFinished } from "vitest";
import { session } from "../../adapters/express.ts";
import { createSessions, memoryStore, type SessionOptions } from "../../src/index.ts";
import { adapterContract } from "../contract/adapter.ts";
import { Browser, readSetCookie } from "../support/browser.ts";
import { expressDriver } from "../support/express-driver.ts";
import { listen } from "../support/listen.ts";
import { type ProbeStore, probeStore } from "../support/probe-store.ts";

adapterContract(expressDriver("Express 5", express, true));
adapterContract(expressDriver("Express 4", express4, false));

const secret = "the Express tests' signing key, thirty-two or more";

function optionsWith(more: Partial<SessionOptions> = {}): SessionOptions & { store: ProbeStore } {
  return { secret, ...more, store: probeStore(memoryStore()) };
}

async function start(app: Express): Promise<Browser> {
  const running = await listen(createServer(app));
  onTestFinished(() => running.close());
  return new Browser(running.url);
}

function dataOf(session: object): Record<string, unknown> {
  return { ...session };
}

for (const [name, App] of [
  ["Express 5", express],
  ["Express 4", express4],
] as const) {
  describe(name, () => {
    it("leaves other routes of the same app to another session library", async () => {
      const app = App() as Express;
      app.use("/new", session(optionsWith()), (req, res) => {
        Object.assign(req.session, { user: "ada" });
        res.json({ ...req.session });
      });
      const old = otherSessions({ secret, resave: false, saveUninitialized: false });
      app.use("/old", old, (req, res) => {
        Object.assign(req.session, { user: "bob" });
        res.json({ user: Reflect.get(req.session, "user") });
      });
      const browser = await start(app);
      for (const [path, user] of [
        ["/new", "ada"],
        ["/old", "bob"],
        ["/new", "ada"],
      ] as const) {
        expect((await browser.get(path)).json()).toMatchObject({ user });
      }
      expect([...browser.cookies.keys()].sort()).toEqual(["connect.sid", "sid"]);
    });

    it("mounted in a sub-app is there for the parent's error handler too", async () => {
      const [app, inner] = [App() as Express, App() as Express];
      inner.use(session(optionsWith()));
      inner.use((req) => {
        Object.assign(req.session, { user: "ada" });
        throw new Error("inner");
      });
      app.use("/inner", inner);
      app.use((_error: unknown, req: Request, res: Response, _next: NextFunction) => {
        res.status(500).json({ ...req.session });
      });
      const browser = await start(app);
      const answer = await browser.get("/inner/x");
      expect([answer.status, answer.json()]).toEqual([500, { user: "ada" }]);
    });

    it('secure "auto" follows trust proxy: Secure behind a proxy that is trusted, not behind one that is not', async () => {
      for (const trust of [true, false]) {
        const app = App();
        app.set("trust proxy", trust);
        app.use(session(optionsWith()));
        app.get("/", (request, response) => {
          Object.assign(request.session, { user: "ada" });
          response.send("ok");
        });
        const browser = await start(app);
        const answer = await browser.get("/", { headers: { "x-forwarded-proto": "https" } });
        const { attributes } = readSetCookie(answer.setCookies[0] ?? "");
        expect(attributes.includes("Secure")).toBe(trust);
      }
    });

    it("events name the client's address as Express judges it", async () => {
      const sessions = createSessions(optionsWith());
      const addresses: unknown[] = [];
      sessions.on("rejected", ({ address }) => addresses.push(address));
      const app = App();
      app.set("trust proxy", true);
      app.use(session(sessions));
      app.get("/", (_request, response) => response.send("ok"));
      const browser = await start(app);
      await browser.get("/", { headers: { cookie: "sid=forged", "x-forwarded-for": "192.0.2.7" } });
      expect(addresses).toEqual(["192.0.2.7"]);
    });

    it("req.sessionID is the public id, and undefined without a session", async () => {
      const app = App();
      app.use(session(optionsWith({ skip: (request) => request.url === "/skipped" })));
      app.get("/skipped", (request, response) => response.json({ id: String(request.sessionID) }));
      app.get("/", async (request, response) => {
        const { id } = request.session;
        const before = request.sessionID;
        await request.session.regenerate();
        const isNewId = request.sessionID === request.session.id && request.sessionID !== id;
        request.session = null;
        response.json({ isSame: before === id, isNewId, afterwards: String(request.sessionID) });
      });
      const browser = await start(app);
      expect((await browser.get("/")).json()).toEqual({ isSame: true, isNewId: true, afterwards: "undefined" });
      expect((await browser.get("/skipped")).json()).toEqual({ id: "undefined" });
    });

    it("mounted twice with one engine, the session is loaded and saved once", async () => {
      const options = optionsWith();
      const middleware = session(createSessions(options));
      const app = App();
      app.use(middleware, middleware);
      const router = App.Router();
      router.use(middleware);
      router.get("/", (request, response) => {
        Object.assign(request.session, { n: Number(dataOf(request.session).n ?? 0) + 1 });
        response.json(dataOf(request.session));
      });
      app.use("/sub", router);
      const browser = await start(app);
      await browser.get("/sub");
      options.store.forget();
      expect((await browser.get("/sub")).json()).toEqual({ n: 2 });
      expect(options.store.calls.map((call) => call.verb)).toEqual(["read", "write"]);
    });

    it("two engines side by side: the inner one takes over req.session, both are saved", async () => {
      const outer = optionsWith({ cookie: { name: "outer" } });
      const inner = optionsWith({ cookie: { name: "inner" } });
      const app = App();
      app.use(session(outer));
      app.use((request, _response, next) => {
        Object.assign(request.session, { which: "outer" });
        next();
      });
      app.use(session(inner));
      app.get("/", (request, response) => {
        const before = dataOf(request.session);
        Object.assign(request.session, { which: "inner" });
        response.json(before);
      });
      const browser = await start(app);
      expect((await browser.get("/")).json()).toEqual({});
      expect([...browser.cookies.keys()].toSorted()).toEqual(["inner", "outer"]);
      expect([outer.store.count("write"), inner.store.count("write")]).toEqual([1, 1]);
      expect((await browser.get("/")).json()).toEqual({ which: "inner" });
    });

    it("a mounted sub-app has the same session", async () => {
      const sub = App();
      sub.get("/in", (request, response) => response.json(dataOf(request.session)));
      const app = App();
      app.use(session(optionsWith()));
      app.get("/set", (request, response) => {
        Object.assign(request.session, { user: "ada" });
        response.redirect("/sub/in");
      });
      app.use("/sub", sub);
      const browser = await start(app);
      expect((await browser.get("/set")).status).toBe(302);
      expect((await browser.get("/sub/in")).json()).toEqual({ user: "ada" });
    });

    it("sendFile, with a session that changed, and a save that fails before it", async () => {
      const options = optionsWith();
      const app = App();
      app.use(session(options));
      app.get("/file", (request, response, next) => {
        Object.assign(request.session, { seen: "file" });
        response.sendFile(import.meta.filename, (error) => error && next(error));
      });
      const browser = await start(app);
      const answer = await browser.get("/file");
      expect([answer.status, answer.setCookies.length]).toEqual([200, 1]);
      expect(answer.text).toContain("sendFile, with a session that changed");
      options.store.failing.add("write");
      const failed = await new Browser(browser.url).get("/file");
      expect([failed.status, failed.setCookies]).toEqual([503, []]);
      expect(failed.text).not.toContain("sendFile, with");
    });

    it("a handler that calls next(error) itself, after a save that failed, gets no second answer", async () => {
      const options = optionsWith();
      options.store.failing.add("write");
      const errors: unknown[] = [];
      const app = App();
      app.use(session(options));
      app.get("/", (request, response, next) => {
        Object.assign(request.session, { user: "ada" });
        response.write("one");
        response.once("finish", () => {
          response.end("two");
          next(new Error("the handler's own"));
        });
      });
      app.use(((error, _request, response, _next) => {
        errors.push(error);
        if (!response.headersSent) response.status(503).send("sorry");
      }) satisfies express.ErrorRequestHandler);
      const browser = await start(app);
      const answer = await browser.get("/");
      expect([answer.status, answer.text]).toEqual([503, "sorry"]);
      expect(errors[0]).toMatchObject({ code: "ERR_SESSION_STORE" });
    });
  });
}
