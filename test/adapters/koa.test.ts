/** The Koa middleware: the adapter contract under Koa 3 and Koa 2, and what is Koa's alone. */
import { once } from "node:events";
import { createServer } from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server } from "node:http2";
import { connect as connectSocket } from "node:net";
import { PassThrough } from "node:stream";
import Koa from "koa";
import Koa2 from "koa2";
import { describe, expect, it, onTestFinished } from "vitest";
import { session } from "../../adapters/koa.ts";
import { createSessions, memoryStore, type SessionError, type Sessions, sessionOf } from "../../src/index.ts";
import { adapterContract, answer, type Reply, routeContext } from "../contract/adapter.ts";
import { Browser } from "../support/browser.ts";
import { deferred, until } from "../support/deferred.ts";
import { listen } from "../support/listen.ts";
import { type ProbeStore, probeStore } from "../support/probe-store.ts";

const versions: [string, typeof Koa][] = [
  ["Koa 3", Koa],
  ["Koa 2", Koa2],
];

for (const [name, App] of versions) {
  adapterContract({
    name,
    failsAtAccess: true,
    async start(plan) {
      const app = new App();
      app.silent = true;
      const send = (ctx: Koa.Context, reply: Reply): void => {
        ctx.set(reply.headers);
        ctx.body = reply.body ?? null;
        // After the body: Koa makes 204 of `null`.
        ctx.status = reply.status;
      };
      const { onError } = plan;
      if (onError) {
        app.use(async (ctx, next) => {
          try {
            await next();
          } catch (error) {
            send(ctx, answer(onError(error, routeContext(ctx, ctx, ctx.url))));
          }
        });
      }
      app.use(session(plan.session));
      app.use(async (ctx) => {
        const route = plan.routes[ctx.path];
        if (route) send(ctx, answer(await route(routeContext(ctx, ctx, ctx.url))));
      });
      return listen(createServer(app.callback()));
    },
  });
}

const secret = "the Koa tests' signing key, thirty-two or more";

interface Bench {
  app: Koa;
  store: ProbeStore;
  sessions: Sessions;
  /** What the app's "error" event got, in order. */
  errors: unknown[];
  browser: Browser;
}

/** An app with the session mounted, `/set` and `/read`, and `handler` for every other path. */
async function bench(
  handler: Koa.Middleware,
  { App = Koa, before = [] }: { App?: typeof Koa; before?: Koa.Middleware[] } = {},
): Promise<Bench> {
  const app = new App();
  const store = probeStore(memoryStore());
  const sessions = createSessions({ secret, store });
  const errors: unknown[] = [];
  app.on("error", (error) => errors.push(error));
  for (const middleware of before) app.use(middleware);
  app.use(session(sessions));
  app.use(async (ctx, next) => {
    const data: Record<string, unknown> = ctx.session as object as Record<string, unknown>; // any key, in tests
    if (ctx.path === "/set") Object.assign(data, ctx.query);
    else if (ctx.path !== "/read") return next();
    ctx.body = { ...data };
  });
  app.use(handler);
  const server = await listen(createServer(app.callback()));
  onTestFinished(async () => {
    await server.close();
    await sessions.close();
  });
  return { app, store, sessions, errors, browser: new Browser(server.url) };
}

async function read(browser: Browser): Promise<Record<string, unknown>> {
  return (await browser.get("/read")).json();
}

/** Writes to the session under any key. */
function write(ctx: Koa.ParameterizedContext, data: Record<string, unknown>): void {
  Object.assign(ctx.session, data);
}

describe.each(versions)("%s: a handler that throws", (_name, App) => {
  const thrown: [string, () => unknown, number][] = [
    ["an error", () => new Error("boom"), 500],
    ["an error with a status", () => Object.assign(new Error("tea"), { status: 418, expose: true }), 418],
    ["an error with headers", () => Object.assign(new Error("no"), { headers: { "X-Why": "because" } }), 500],
    ["a frozen error", () => Object.freeze(Object.assign(new Error("cold"), { status: 409 })), 409],
    ["a string", () => "oops", 500],
    ["undefined", () => undefined, 200],
    ["an object", () => ({ reason: "odd" }), 500],
  ];
  it.each(thrown)("%s keeps the change and its cookie", async (_what, make, status) => {
    const { browser, errors } = await bench(
      (ctx) => {
        write(ctx, { user: "ada" });
        throw make();
      },
      { App },
    );
    const response = await browser.get("/throw");
    expect(response.setCookies).toHaveLength(1);
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(response.headers.get("vary")).toContain("Cookie");
    expect(response.status).toBe(status === 200 ? 500 : status);
    expect(errors).toHaveLength(1);
    expect(await read(browser)).toEqual({ user: "ada" });
  });

  it("keeps the error's own headers and cookies beside the session's", async () => {
    const { browser } = await bench(
      (ctx) => {
        write(ctx, { user: "ada" });
        ctx.set("X-Dropped", "as in all of Koa");
        throw Object.assign(new Error("no"), { headers: { "Set-Cookie": "a=1", Vary: "Accept", "X-Why": "because" } });
      },
      { App },
    );
    const response = await browser.get("/throw");
    expect(response.status).toBe(500);
    expect(response.setCookies.map((line) => line.split("=")[0])).toEqual(["sid", "a"]);
    expect([response.headers.get("x-why"), response.headers.get("x-dropped")]).toEqual(["because", null]);
    expect(response.headers.get("vary")).toBe("Cookie, Accept");
  });

  it("leaves what it threw as it was where the session has nothing to add", async () => {
    const caught: unknown[] = [];
    const keep: Koa.Middleware = async (ctx, next) => {
      await next().catch((error: unknown) => caught.push(error));
      ctx.body = "handled";
    };
    const { browser } = await bench(
      () => {
        throw "plain";
      },
      { App, before: [keep] },
    );
    expect((await browser.get("/throw")).text).toBe("handled");
    expect(caught).toEqual(["plain"]);
  });

  it("is answered with its own error when the save fails too, which goes to the app's error event", async () => {
    const { browser, store, errors } = await bench(
      (ctx) => {
        write(ctx, { user: "ada" });
        ctx.throw(418, "tea");
      },
      { App },
    );
    store.failing.add("write");
    const response = await browser.get("/throw");
    expect([response.status, response.text, response.setCookies]).toEqual([418, "tea", []]);
    expect(errors.map((error) => (error as Error).message)).toEqual([expect.stringMatching(/store|reach/i), "tea"]);
  });
});

describe("ctx.session", () => {
  it("is one accessor on app.context, and nothing on each ctx", async () => {
    const own: string[][] = [];
    const { browser, app } = await bench((ctx) => {
      write(ctx, { seen: true });
      own.push(Object.keys(ctx).filter((key) => key.includes("session")));
      ctx.body = "ok";
    });
    await browser.get("/x");
    await browser.get("/x");
    expect(own).toEqual([[], []]);
    expect(Object.getOwnPropertyDescriptor(app.context, "session")?.get).toBeTypeOf("function");
  });

  it("reads undefined before session() has run, and can't be set there", async () => {
    const seen: unknown[] = [];
    const early: Koa.Middleware = async (ctx, next) => {
      seen.push(ctx.session);
      if (ctx.path === "/early") ctx.session = {};
      await next();
    };
    const { browser, errors } = await bench(() => {}, { before: [early] });
    await browser.get("/read");
    expect((await browser.get("/early")).status).toBe(500);
    expect(seen).toEqual([undefined, undefined]);
    expect((errors[0] as SessionError).code).toBe("ERR_SESSION_NO_SESSION");
  });

  it("is still there for middleware that is mounted outside, after the handler", async () => {
    const seen: unknown[] = [];
    const outside: Koa.Middleware = async (ctx, next) => {
      await next();
      seen.push({ ...ctx.session });
    };
    const { browser } = await bench(() => {}, { before: [outside] });
    await browser.get("/set?user=ada");
    expect(seen).toEqual([{ user: "ada" }]);
  });

  it("is loaded and saved once when session() is mounted twice", async () => {
    const { browser, store, app, sessions } = await bench((ctx) => {
      write(ctx, { user: "ada" });
      ctx.body = "ok";
    });
    app.middleware.splice(1, 0, session(sessions));
    await browser.get("/x");
    expect([store.count("read"), store.count("write")]).toEqual([0, 1]);
    await browser.get("/read");
    expect([store.count("read"), store.count("write")]).toEqual([1, 1]);
  });

  it("judges security and the address as the app does", async () => {
    for (const proxy of [false, true]) {
      const app = new Koa();
      app.proxy = proxy;
      const addresses: unknown[] = [];
      const sessions = createSessions({ secret, cookie: { secure: "auto" } });
      sessions.on("rejected", (event) => addresses.push(event.address));
      app.use(session(sessions));
      app.use((ctx) => {
        write(ctx, { user: "ada" });
        ctx.body = "ok";
      });
      const server = await listen(createServer(app.callback()));
      onTestFinished(() => server.close());
      const response = await new Browser(server.url).get("/", {
        headers: { "x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.7", cookie: "sid=forged" },
      });
      expect(/; secure/i.test(response.setCookies[0] ?? "")).toBe(proxy);
      expect(addresses).toEqual([proxy ? "192.0.2.7" : "127.0.0.1"]);
    }
  });

  it("is found by sessionOf(ctx) with lazy loading, and costs nothing before", async () => {
    const app = new Koa();
    app.silent = true;
    const store = probeStore(memoryStore());
    app.use(session({ secret, store, load: "lazy" }));
    app.use(async (ctx) => {
      if (ctx.path === "/idle") ctx.body = "idle";
      else if (ctx.path === "/early") ctx.body = { ...ctx.session };
      else {
        const own = await sessionOf(ctx);
        if (ctx.path === "/set") Object.assign(own, ctx.query);
        ctx.body = { ...ctx.session };
      }
    });
    const server = await listen(createServer(app.callback()));
    onTestFinished(() => server.close());
    const browser = new Browser(server.url);
    await browser.get("/set?user=ada");
    store.forget();
    expect((await browser.get("/idle")).text).toBe("idle");
    expect(store.count()).toBe(0);
    expect((await browser.get("/early")).status).toBe(500);
    expect(await read(browser)).toEqual({ user: "ada" });
  });
});

describe("a save that fails", () => {
  it("is a 503 without the handler's status, body or headers, also past an error page that sets nothing", async () => {
    const swallow: Koa.Middleware = async (_ctx, next) => {
      await next().catch(() => {});
    };
    for (const before of [[], [swallow]]) {
      const { browser, store } = await bench(
        (ctx) => {
          write(ctx, { user: "ada" });
          ctx.status = 201;
          ctx.body = { token: "made by the handler" };
        },
        { before },
      );
      store.failing.add("write");
      const response = await browser.get("/x");
      expect([response.status, response.setCookies]).toEqual([503, []]);
      expect(response.text).not.toContain("made by the handler");
    }
  });

  it("keeps the cookie of a renewal that went through: the old id is dead", async () => {
    const { browser, store } = await bench(async (ctx) => {
      await ctx.session.renew();
      store.failing.add("write");
      write(ctx, { late: true });
      ctx.body = "ok";
    });
    await browser.get("/set?user=ada");
    const response = await browser.get("/x");
    expect([response.status, response.setCookies.length]).toEqual([503, 1]);
    store.failing.clear();
    expect(await read(browser)).toEqual({ user: "ada" });
  });

  it("destroys the stream that the handler had answered with", async () => {
    const body = new PassThrough();
    const { browser, store } = await bench((ctx) => {
      write(ctx, { user: "ada" });
      ctx.body = body;
    });
    store.failing.add("write");
    expect((await browser.get("/x")).status).toBe(503);
    expect(body.destroyed).toBe(true);
  });

  it("after the head has left goes to the app's error event, and the response ends", async () => {
    const { browser, store, errors } = await bench((ctx) => {
      write(ctx, { user: "ada" });
      ctx.body = "the rest";
      ctx.flushHeaders();
    });
    await browser.get("/set?user=bob");
    store.failing.add("write");
    expect((await browser.get("/x")).text).toBe("the rest");
    expect(errors.map((error) => (error as SessionError).status)).toEqual([503]);
  });
});

describe("a response that ends after the middleware", () => {
  it("of a stream saves what changed while it ran", async () => {
    const body = new PassThrough();
    let late = (): void => {};
    const { browser, store } = await bench((ctx) => {
      write(ctx, { first: 1 });
      const own = ctx.session;
      late = () => Object.assign(own, { second: 2 });
      ctx.body = body;
    });
    body.write("begun, ");
    const response = await browser.open("/x");
    expect(store.count("write")).toBe(1);
    late();
    body.end("done");
    expect(await response.text()).toBe("begun, done");
    await until(() => store.count("write") === 2, "the late change is saved");
    expect(await read(browser)).toEqual({ first: 1, second: 2 });
  });

  it("that the app writes by itself (ctx.respond = false) has the cookie and its late changes", async () => {
    const go = deferred();
    const { browser, store } = await bench((ctx) => {
      ctx.respond = false;
      write(ctx, { first: 1 });
      const own = ctx.session;
      void go.promise.then(() => {
        ctx.res.statusCode = 200;
        ctx.res.write("self ");
        Object.assign(own, { second: 2 });
        ctx.res.end("made");
      });
    });
    const response = browser.get("/x");
    await until(() => store.count("write") === 1, "the first change is saved");
    go.resolve();
    const { text, setCookies } = await response;
    expect([text, setCookies.length]).toEqual(["self made", 1]);
    await until(() => store.count("write") === 2, "the late change is saved");
    expect(await read(browser)).toEqual({ first: 1, second: 2 });
  });

  it("of a client that went away is saved when the handler is done", async () => {
    const entered = deferred();
    const gone = deferred();
    const { browser, store } = await bench(async (ctx) => {
      if (ctx.path !== "/slow") return;
      entered.resolve();
      ctx.res.once("close", () => gone.resolve());
      await gone.promise;
      write(ctx, { after: "the client left" });
      ctx.body = "nobody reads this";
    });
    await browser.get("/set?user=ada");
    const socket = connectSocket(Number(new URL(browser.url).port), "127.0.0.1");
    socket.write(`GET /slow HTTP/1.1\r\nHost: x\r\nCookie: ${browser.cookieHeader}\r\n\r\n`);
    await entered.promise;
    socket.destroy();
    await until(() => store.count("write") === 2, "the change is saved");
    expect(await read(browser)).toEqual({ user: "ada", after: "the client left" });
  });
});

it("HTTP/2 requests have sessions", async () => {
  const app = new Koa();
  app.use(session({ secret }));
  app.use((ctx) => {
    if (ctx.path === "/set") write(ctx, { user: "ada" });
    ctx.body = { ...ctx.session };
  });
  const server = createHttp2Server(app.callback());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has an address object");
  const client = connectHttp2(`http://127.0.0.1:${address.port}`);
  onTestFinished(() => {
    client.destroy();
    server.close();
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
