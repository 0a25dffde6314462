/** The Fastify plugin: the adapter contract, and what is Fastify's alone. */
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectSocket } from "node:net";
import { PassThrough, Readable, Writable } from "node:stream";
import flash from "@fastify/flash";
import Fastify, { type FastifyInstance, type FastifyServerOptions } from "fastify";
import fastifyPlugin from "fastify-plugin";
import { describe, expect, it, onTestFinished } from "vitest";
import holdfast, { session } from "../../adapters/fastify.ts";
import { createSessions, memoryStore, type SessionOptions, Sessions, sessionOf } from "../../src/index.ts";
import { adapterContract, answer, type Reply, type RouteAnswer, routeContext } from "../contract/adapter.ts";
import { Browser } from "../support/browser.ts";
import { deferred, until } from "../support/deferred.ts";
import { type ProbeStore, probeStore } from "../support/probe-store.ts";

async function listenOn(app: FastifyInstance): Promise<{ url: string; port: number; close(): Promise<void> }> {
  const url = await app.listen({ port: 0, host: "127.0.0.1" });
  return {
    url,
    port: Number(new URL(url).port),
    async close() {
      app.server.closeAllConnections?.();
      await app.close();
    },
  };
}

adapterContract({
  name: "Fastify 5",
  failsAtAccess: true,
  async start(plan) {
    const app = Fastify({ forceCloseConnections: true });
    const { session: given, onError, routes } = plan;
    await app.register(session, given instanceof Sessions ? { sessions: given } : given);
    const send = (reply: import("fastify").FastifyReply, { status, headers, body }: Reply) =>
      reply.code(status).headers(headers).send(body);
    if (onError) {
      app.setErrorHandler((error, request, reply) =>
        send(reply, answer(onError(error, routeContext(request, request, request.url)))),
      );
    }
    for (const [path, route] of Object.entries(routes)) {
      app.all(path, (request, reply) => {
        const given: RouteAnswer | Promise<RouteAnswer> = route(routeContext(request, request, request.url));
        if (given instanceof Promise) return given.then((late) => send(reply, answer(late)));
        return send(reply, answer(given));
      });
    }
    return listenOn(app);
  },
});

const secret = "the Fastify tests' signing key, thirty-two or more";

interface Bench {
  app: FastifyInstance;
  store: ProbeStore;
  sessions: Sessions;
}

/** An app with the session and the routes `/set` and `/read`; not listening yet. */
async function bench(options: FastifyServerOptions = {}, sessionOptions: Partial<SessionOptions> = {}): Promise<Bench> {
  const app = Fastify({ forceCloseConnections: true, ...options });
  const store = probeStore(memoryStore());
  const sessions = createSessions({ secret, store, ...sessionOptions });
  await app.register(session, { sessions });
  app.get("/set", async (request) => Object.assign(request.session, request.query));
  app.get("/read", async (request) => ({ ...request.session }));
  onTestFinished(async () => {
    await app.close();
    await sessions.close();
  });
  return { app, store, sessions };
}

async function browserOf(app: FastifyInstance): Promise<Browser> {
  return new Browser((await listenOn(app)).url);
}

/** The cookie header after an injected response. */
function cookieOf(response: { headers: Record<string, unknown> }): string {
  return [response.headers["set-cookie"] ?? []]
    .flat()
    .map((line) => String(line).split(";")[0])
    .join("; ");
}

/** What the process emitted as unhandled while the test ran. */
function watchProcess(): unknown[] {
  const seen: unknown[] = [];
  const note = (reason: unknown): void => void seen.push(reason);
  process.on("unhandledRejection", note);
  process.on("uncaughtExceptionMonitor", note);
  onTestFinished(() => {
    process.off("unhandledRejection", note);
    process.off("uncaughtExceptionMonitor", note);
  });
  return seen;
}

/** A logger's output, as objects. */
function logStream(): { lines: Record<string, unknown>[]; stream: Writable } {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      for (const line of String(chunk).split("\n")) if (line) lines.push(JSON.parse(line));
      done();
    },
  });
  return { lines, stream };
}

describe("registering", () => {
  it("works with the default export, with options, and with an engine", async () => {
    expect(holdfast).toBe(session);
    const app = Fastify();
    await app.register(holdfast, { secret });
    app.get("/", async (request) => ({
      isNew: request.session.isNew,
      same: request.session.sessionId === request.session.id,
    }));
    expect((await app.inject("/")).json()).toEqual({ isNew: true, same: true });
    await app.close();
  });

  it("takes what register itself takes beside the options", async () => {
    const app = Fastify();
    await app.register(session, { secret, prefix: "/ignored", logLevel: "warn" });
    await app.close();
    expect(app.hasRequestDecorator("session")).toBe(true);
  });

  it("fails at start with a wrong option", async () => {
    const app = Fastify();
    await expect(app.register(session, { secret: "short" })).rejects.toMatchObject({ code: "ERR_SESSION_OPTION" });
  });

  it("is a dependency that other plugins can name, and a decorator that they can ask for", async () => {
    const app = Fastify();
    await app.register(session, { secret });
    await app.register(
      fastifyPlugin(async () => {}, {
        name: "needs-sessions",
        dependencies: ["holdfast"],
        decorators: { request: ["session"] },
      }),
    );
    await app.register(flash);
    await app.ready();
    await app.close();
    const without = Fastify();
    without.register(flash);
    await expect(without.ready()).rejects.toMatchObject({ code: "FST_ERR_PLUGIN_NOT_PRESENT_IN_INSTANCE" });
  });

  it("fails at start where another plugin's session is in its place", async () => {
    const app = Fastify();
    const other = (): never => {
      throw new Error("never read here");
    };
    app.decorateRequest("session", { getter: other });
    await expect(app.register(session, { secret })).rejects.toMatchObject({ code: "FST_ERR_DEC_ALREADY_PRESENT" });
  });

  it("closes the engine that it made, and not one that it was given", async () => {
    const closed: string[] = [];
    const storeNamed = (name: string) => ({ ...probeStore(memoryStore()), close: async () => void closed.push(name) });
    const own = Fastify();
    await own.register(session, { secret, store: storeNamed("own") });
    const sessions = createSessions({ secret, store: storeNamed("shared") });
    const shared = Fastify();
    await shared.register(session, { sessions });
    await own.close();
    await shared.close();
    expect(closed).toEqual(["own"]);
    await sessions.close();
    expect(closed).toEqual(["own", "shared"]);
  });

  it("in two encapsulated contexts gives each its own session and cookie", async () => {
    const app = Fastify();
    onTestFinished(() => app.close());
    for (const name of ["shop", "admin"]) {
      app.register(async (scope) => {
        await scope.register(session, { secret, cookie: { name } });
        scope.get(`/${name}/set`, async (request) => Object.assign(request.session, { in: name }));
        scope.get(`/${name}/read`, async (request) => ({ ...request.session }));
      });
    }
    app.get("/outside", async (request) => ({ has: "session" in request }));
    const shop = await app.inject("/shop/set");
    const admin = await app.inject("/admin/set");
    expect([cookieOf(shop).split("=")[0], cookieOf(admin).split("=")[0]]).toEqual(["shop", "admin"]);
    const headers = { cookie: `${cookieOf(shop)}; ${cookieOf(admin)}` };
    expect((await app.inject({ url: "/shop/read", headers })).json()).toEqual({ in: "shop" });
    expect((await app.inject({ url: "/admin/read", headers })).json()).toEqual({ in: "admin" });
    expect((await app.inject("/outside")).json()).toEqual({ has: false });
  });

  it("in a context inside another, with another engine, gives the inner one there", async () => {
    const { app } = await bench();
    app.register(async (scope) => {
      await scope.register(session, { secret, cookie: { name: "inner" } });
      scope.get("/inner", async (request) => Object.assign(request.session, { level: "inner" }));
    });
    const inner = await app.inject("/inner");
    expect(cookieOf(inner).split("=")[0]).toBe("inner");
    expect((await app.inject({ url: "/read", headers: { cookie: cookieOf(inner) } })).json()).toEqual({});
  });

  it("twice with one engine loads and saves once", async () => {
    const { app, sessions, store } = await bench();
    app.register(async (scope) => {
      await scope.register(session, { sessions });
      scope.get("/inner", async (request) => Object.assign(request.session, { seen: true }));
    });
    const cookie = cookieOf(await app.inject("/set?a=1"));
    store.forget();
    expect((await app.inject({ url: "/inner", headers: { cookie } })).statusCode).toBe(200);
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read", "write"]);
  });
});

describe("request.session", () => {
  it("has get, set and data, and a data key of such a name wins", async () => {
    const { app } = await bench();
    app.get("/use", async (request) => {
      request.session.set("a", 1);
      request.session.set("b", 2);
      request.session.set("b", undefined);
      const { get } = request.session;
      return {
        a: request.session.get("a"),
        b: request.session.get("b") ?? null,
        member: get.call(request.session, "save") ?? null,
        data: request.session.data(),
      };
    });
    app.get("/shadow", async (request) => {
      Object.assign(request.session, { data: { mine: true }, get: "got", set: "settled" });
      return { ...request.session };
    });
    expect((await app.inject("/use")).json()).toEqual({ a: 1, b: null, member: null, data: { a: 1 } });
    const shadow = await app.inject("/shadow");
    const data = { data: { mine: true }, get: "got", set: "settled" };
    expect(shadow.json()).toEqual(data);
    expect((await app.inject({ url: "/read", headers: { cookie: cookieOf(shadow) } })).json()).toEqual(data);
  });

  it("regenerates with the keys to keep, by promise and by callback", async () => {
    const { app } = await bench();
    app.get("/keep", async (request) => {
      const before = request.session;
      await request.session.regenerate(["cart"]);
      return { isOther: request.session !== before, data: { ...request.session } };
    });
    app.get("/callback", (request, reply) => {
      request.session.regenerate(["cart"], (error) =>
        reply.send({ error: error ?? null, data: { ...request.session } }),
      );
    });
    for (const url of ["/keep", "/callback"]) {
      const first = cookieOf(await app.inject("/set?cart=tea&user=ada"));
      const kept = await app.inject({ url, headers: { cookie: first } });
      expect(kept.json()).toMatchObject({ data: { cart: "tea" } });
      expect((await app.inject({ url: "/read", headers: { cookie: cookieOf(kept) } })).json()).toEqual({ cart: "tea" });
      expect((await app.inject({ url: "/read", headers: { cookie: first } })).json()).toEqual({});
    }
  });

  it("is found by sessionOf(request) with lazy loading, and fails with the cure before", async () => {
    const { app, store } = await bench({}, { load: "lazy" });
    app.get("/idle", async () => "idle");
    app.get("/lazy", async (request) => Object.assign(await sessionOf(request), { user: "ada" }));
    const cookie = cookieOf(await app.inject("/lazy"));
    store.forget();
    expect((await app.inject({ url: "/idle", headers: { cookie } })).statusCode).toBe(200);
    expect(store.count()).toBe(0);
    const early = await app.inject({ url: "/read", headers: { cookie } });
    expect([early.statusCode, early.json()]).toEqual([
      500,
      expect.objectContaining({ code: "ERR_SESSION_NOT_LOADED", message: expect.stringContaining("sessionOf") }),
    ]);
  });

  it("judges security and the address as the app does", async () => {
    for (const trustProxy of [false, true]) {
      const { app, sessions } = await bench({ trustProxy }, { cookie: { secure: "auto" } });
      const addresses: unknown[] = [];
      sessions.on("rejected", ({ address }) => addresses.push(address));
      const headers = { "x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.7", cookie: "sid=forged" };
      const response = await app.inject({ url: "/set?a=1", headers });
      expect(/; secure/i.test(String(response.headers["set-cookie"]))).toBe(trustProxy);
      expect(addresses).toEqual([trustProxy ? "192.0.2.7" : "127.0.0.1"]);
    }
  });

  it("reads undefined where its onRequest has not run, and can't be set there", async () => {
    const app = Fastify();
    onTestFinished(() => app.close());
    const seen: unknown[] = [];
    app.addHook("onRequest", async (request) => {
      seen.push(request.session);
      if (request.url === "/early") Object.assign(request, { session: null });
    });
    await app.register(session, { secret });
    app.get("/early", async () => "never");
    app.get("/", async () => "ok");
    expect((await app.inject("/")).statusCode).toBe(200);
    expect((await app.inject("/early")).json()).toMatchObject({ code: "ERR_SESSION_NO_SESSION" });
    expect(seen).toEqual([undefined, undefined]);
  });
});

describe("a reply with a slow store", () => {
  const careless: [string, (app: FastifyInstance) => void][] = [
    [
      "without return in an async handler",
      (app) =>
        app.get("/x", async (request, reply) => {
          Object.assign(request.session, { user: "ada" });
          reply.send({ ok: true });
        }),
    ],
    [
      "twice",
      (app) =>
        app.get("/x", (request, reply) => {
          Object.assign(request.session, { user: "ada" });
          reply.send({ ok: true });
          reply.send({ ok: "again" });
        }),
    ],
    [
      "and then throws",
      (app) =>
        app.get("/x", async (request, reply) => {
          Object.assign(request.session, { user: "ada" });
          reply.send({ ok: true });
          throw new Error("too late");
        }),
    ],
    [
      "before something else answers",
      (app) =>
        app.get("/x", async (request, reply) => {
          Object.assign(request.session, { user: "ada" });
          reply.send({ ok: true });
          return { ok: "returned" };
        }),
    ],
  ];
  it.each(careless)("sent %s saves once, answers once and ends no process", async (_how, route) => {
    const unhandled = watchProcess();
    const { app, store } = await bench();
    route(app);
    store.delayMs.write = 20;
    const browser = await browserOf(app);
    const response = await browser.get("/x");
    expect([response.status, response.json()]).toEqual([200, { ok: true }]);
    expect(response.headers.get("content-type")).toContain("application/json");
    expect([store.count("write"), response.setCookies.length]).toEqual([1, 1]);
    expect((await browser.get("/read")).json()).toEqual({ user: "ada" });
    expect(unhandled).toEqual([]);
  });

  it("waits for the store, whatever the way it is sent", async () => {
    const { app, store } = await bench();
    const settled: boolean[] = [];
    app.addHook("onSend", async () => void settled.push(store.calls.every((call) => call.settled)));
    app.get("/redirect", async (request, reply) => {
      Object.assign(request.session, { a: 1 });
      return reply.redirect("/read");
    });
    app.get("/throw", async (request) => {
      Object.assign(request.session, { a: 1 });
      throw Object.assign(new Error("teapot"), { statusCode: 418 });
    });
    app.get("/stream", async (request) => {
      Object.assign(request.session, { a: 1 });
      return Readable.from(["a", "b"]);
    });
    store.delayMs.write = 10;
    const browser = await browserOf(app);
    for (const [path, status] of [
      ["/redirect", 302],
      ["/throw", 418],
      ["/stream", 200],
    ] as const) {
      const response = await new Browser(browser.url).get(path);
      expect([response.status, response.setCookies.length]).toEqual([status, 1]);
    }
    expect(settled).toEqual([true, true, true]);
  });
});

describe("a save that fails", () => {
  it("is a 503 with Retry-After through the error handler, tried once, nothing of the answer left", async () => {
    const unhandled = watchProcess();
    const { app, store } = await bench();
    app.get("/x", async (request, reply) => {
      Object.assign(request.session, { user: "ada" });
      return reply
        .code(201)
        .headers({ etag: '"1"', "content-encoding": "x-none", "cache-control": "public" })
        .send({ token: "made" });
    });
    store.failing.add("write");
    const browser = await browserOf(app);
    const response = await browser.get("/x");
    expect([response.status, response.headers.get("retry-after"), response.setCookies]).toEqual([503, "1", []]);
    expect(response.json()).toMatchObject({ statusCode: 503, code: "ERR_SESSION_STORE" });
    expect(["etag", "content-encoding", "cache-control"].map((name) => response.headers.get(name))).toEqual([
      null,
      null,
      "no-store",
    ]);
    expect(store.count("write")).toBe(1);
    expect(unhandled).toEqual([]);
  });

  it("is a 503 too where the app's error handler sets no status, or fails itself", async () => {
    for (const handler of [async () => ({ sorry: true }), async () => Promise.reject(new Error("the page broke"))]) {
      const { app, store } = await bench();
      app.setErrorHandler(handler);
      store.failing.add("write");
      const response = await app.inject("/set?a=1");
      expect(response.statusCode).toBe(503);
    }
  });

  it("after the handler had thrown is answered as the failed save", async () => {
    const { app, store } = await bench();
    app.get("/x", async (request) => {
      Object.assign(request.session, { user: "ada" });
      throw new Error("the handler's");
    });
    store.failing.add("write");
    const response = await app.inject("/x");
    expect([response.statusCode, response.headers["retry-after"]]).toEqual([503, "1"]);
  });

  it("destroys the stream that the handler had answered with", async () => {
    const { app, store } = await bench();
    const body = new PassThrough();
    app.get("/x", async (request) => {
      Object.assign(request.session, { user: "ada" });
      return body;
    });
    store.failing.add("write");
    expect((await app.inject("/x")).statusCode).toBe(503);
    expect(body.destroyed).toBe(true);
  });
});

describe("a response that ends after onSend, or without it", () => {
  it("of a stream saves what changed while it ran", async () => {
    const { app, store } = await bench();
    const body = new PassThrough();
    let late = (): void => {};
    app.get("/x", async (request) => {
      const own = Object.assign(request.session, { first: 1 });
      late = () => Object.assign(own, { second: 2 });
      return body;
    });
    const browser = await browserOf(app);
    body.write("begun, ");
    const response = await browser.open("/x");
    expect(store.count("write")).toBe(1);
    late();
    body.end("done");
    expect(await response.text()).toBe("begun, done");
    await until(() => store.count("write") === 2, "the late change is saved");
    expect((await browser.get("/read")).json()).toEqual({ first: 1, second: 2 });
  });

  it("of a hijacked reply is saved at its end; a cookie that it needed is reported", async () => {
    const { app, store, sessions } = await bench();
    const skipped: string[] = [];
    sessions.on("cookieSkipped", ({ reason }) => skipped.push(reason));
    app.get("/x", (request, reply) => {
      reply.hijack();
      Object.assign(request.session, { by: "hijack" });
      reply.raw.end("raw");
    });
    const browser = await browserOf(app);
    expect((await browser.get("/x")).text).toBe("raw");
    await until(() => skipped.length === 1, "the missing cookie is reported");
    expect(skipped).toEqual(["headers-sent"]);
    await browser.get("/set?user=ada");
    store.forget();
    await browser.get("/x");
    await until(() => store.count("write") === 1 && store.calls.every((call) => call.settled), "the change is saved");
    expect((await browser.get("/read")).json()).toEqual({ user: "ada", by: "hijack" });
  });

  it("of a hijacked reply has the cookie of a session that was saved before", async () => {
    const { app } = await bench();
    app.get("/x", async (request, reply) => {
      Object.assign(request.session, { by: "hijack" });
      await request.session.save();
      reply.hijack();
      reply.raw.end("raw");
    });
    const browser = await browserOf(app);
    expect((await browser.get("/x")).setCookies).toHaveLength(1);
    expect((await browser.get("/read")).json()).toEqual({ by: "hijack" });
  });

  it("of a client that went away is saved when the handler is done", async () => {
    const { app, store } = await bench();
    const entered = deferred();
    const gone = deferred();
    app.get("/slow", async (request, reply) => {
      entered.resolve();
      reply.raw.once("close", () => gone.resolve());
      await gone.promise;
      Object.assign(request.session, { after: "the client left" });
      return "nobody reads this";
    });
    const { url, port } = await listenOn(app);
    const browser = new Browser(url);
    await browser.get("/set?user=ada");
    const socket = connectSocket(port, "127.0.0.1");
    socket.write(`GET /slow HTTP/1.1\r\nHost: x\r\nCookie: ${browser.cookieHeader}\r\n\r\n`);
    await entered.promise;
    socket.destroy();
    await until(() => store.count("write") === 2, "the change is saved");
    expect((await browser.get("/read")).json()).toEqual({ user: "ada", after: "the client left" });
  });
});

describe("around the plugin", () => {
  it("app.inject has sessions, cookies and errors like a socket", async () => {
    const { app, store } = await bench();
    const first = await app.inject("/set?user=ada");
    expect(first.headers["cache-control"]).toBe("no-store");
    const second = await app.inject({ url: "/read", headers: { cookie: cookieOf(first) } });
    expect([second.json(), second.headers["set-cookie"], second.headers.vary]).toEqual([
      { user: "ada" },
      undefined,
      "Cookie",
    ]);
    store.failing.add("read");
    expect((await app.inject({ url: "/read", headers: { cookie: cookieOf(first) } })).statusCode).toBe(503);
  });

  it("cookies that the app sets by itself stay beside the session's", async () => {
    const { app } = await bench();
    app.get("/x", async (request, reply) => {
      Object.assign(request.session, { a: 1 });
      await request.session.save();
      reply.header("set-cookie", "one=1").header("set-cookie", "two=2");
      return "ok";
    });
    const browser = await browserOf(app);
    const names = (await browser.get("/x")).setCookies.map((line) => line.split("=")[0]);
    expect(names.sort()).toEqual(["one", "sid", "two"]);
  });

  it("why a request has no session stands in request.log at debug level, with the public id", async () => {
    const { lines, stream } = logStream();
    const { app } = await bench({ logger: { level: "debug", stream } });
    const first = await app.inject("/set?user=ada");
    const cookie = cookieOf(first);
    expect((await app.inject({ url: "/read", headers: { cookie: "sid=forged" } })).statusCode).toBe(200);
    expect(
      (
        await app.inject({
          url: "/read",
          headers: { cookie: cookie.replace(/.$/, (last) => (last === "A" ? "B" : "A")) },
        })
      ).statusCode,
    ).toBe(200);
    const reasons = lines.filter(({ msg }) => msg === "empty session");
    expect(reasons.map(({ reason, level }) => [reason, level])).toEqual([
      ["no cookie", 20],
      ["malformed", 20],
      ["bad signature", 20],
    ]);
    expect(reasons.every(({ reqId }) => typeof reqId === "string")).toBe(true);
    expect(JSON.stringify(lines)).not.toContain(cookie.slice(4, 36));
  });

  it("HTTP/2 requests have sessions", async () => {
    const app = Fastify({ http2: true });
    await app.register(session, { secret });
    app.get("/set", async (request) => Object.assign(request.session, { user: "ada" }));
    app.get("/read", async (request) => ({ ...request.session }));
    const client = connectHttp2(await app.listen({ port: 0, host: "127.0.0.1" }));
    onTestFinished(async () => {
      client.destroy();
      await app.close();
    });
    const request = async (path: string, cookie?: string): Promise<{ cookies: string[]; text: string }> => {
      const stream = client.request({ ":path": path, ...(cookie === undefined ? {} : { cookie }) });
      const [headers] = (await once(stream, "response")) as [{ "set-cookie"?: string[] }];
      let text = "";
      for await (const chunk of stream.setEncoding("utf8")) text += chunk;
      return { cookies: headers["set-cookie"] ?? [], text };
    };
    const first = await request("/set");
    expect(first.cookies).toHaveLength(1);
    const second = await request("/read", first.cookies[0]?.split(";")[0]);
    expect([JSON.parse(second.text), second.cookies]).toEqual([{ user: "ada" }, []]);
  });

  it("a 404 and a route that skip() leaves out are none of the session's business", async () => {
    const { app, store } = await bench({}, { skip: (request) => request.url === "/skipped" });
    app.get("/skipped", async (request) => ({ session: request.session === undefined ? "undefined" : "there" }));
    const cookie = cookieOf(await app.inject("/set?a=1"));
    store.forget();
    const skipped = await app.inject({ url: "/skipped", headers: { cookie } });
    expect([skipped.json(), skipped.headers.vary, store.count()]).toEqual([{ session: "undefined" }, undefined, 0]);
    expect((await app.inject({ url: "/none", headers: { cookie } })).statusCode).toBe(404);
  });
});
