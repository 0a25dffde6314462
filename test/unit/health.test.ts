import { createServer } from "node:http";
import express from "express";
import Fastify from "fastify";
import Koa from "koa";
import { describe, expect, it, onTestFinished } from "vitest";
import { createSessions, type HealthOptions, healthHandler, memoryStore, type Sessions } from "../../src/index.ts";
import { Client } from "../support/exchange.ts";
import { listen, type RunningApp } from "../support/listen.ts";
import { probeStore } from "../support/probe-store.ts";
import { until } from "../support/redis-server.ts";

const secret = "a secret of the tests of health, long enough";

function setUp() {
  const store = probeStore(memoryStore());
  const sessions = createSessions({ secret, store, storeTimeout: 200 });
  onTestFinished(() => sessions.close());
  return { store, sessions };
}

/** How each host mounts the handler, as its doc comment says. */
const hosts: Record<string, (sessions: Sessions, options?: HealthOptions) => Promise<RunningApp>> = {
  "node:http": (sessions, options) => listen(createServer(healthHandler(sessions, options))),
  Express: (sessions, options) => {
    const app = express();
    app.get("/health", healthHandler(sessions, options));
    return listen(createServer(app));
  },
  Koa: (sessions, options) => {
    const health = healthHandler(sessions, options);
    const app = new Koa();
    app.use((ctx) => {
      ctx.respond = false;
      health(ctx.req, ctx.res);
    });
    return listen(createServer(app.callback()));
  },
  Fastify: async (sessions, options) => {
    const health = healthHandler(sessions, options);
    const app = Fastify();
    app.get("/health", (request, reply) => {
      reply.hijack();
      health(request.raw, reply.raw);
    });
    await app.ready();
    return listen(app.server);
  },
};

async function ask({ url }: RunningApp, method = "GET"): Promise<{ status: number; body: string; headers: Headers }> {
  const response = await fetch(new URL("/health", url), { method });
  return { status: response.status, body: await response.text(), headers: response.headers };
}

describe.each(Object.entries(hosts))("the health handler on %s", (_, start) => {
  it("answers 200, 404 while draining and 503 when closed, with the health as JSON that nobody caches", async () => {
    const { sessions } = setUp();
    const app = await start(sessions);
    onTestFinished(() => app.close());
    const healthy = await ask(app);
    expect(healthy.status).toBe(200);
    expect(JSON.parse(healthy.body)).toMatchObject({ status: "healthy", inFlight: 0 });
    expect(healthy.headers.get("cache-control")).toBe("no-store");
    expect(healthy.headers.get("content-type")).toBe("application/json");
    void sessions.drain({ notice: "1h" });
    const draining = await ask(app);
    expect([draining.status, JSON.parse(draining.body).status]).toEqual([404, "draining"]);
    await sessions.close();
    const closed = await ask(app);
    expect([closed.status, JSON.parse(closed.body).status]).toEqual([503, "closed"]);
  });

  it("answers 503 once nobody is wanted any more", async () => {
    const { sessions } = setUp();
    const app = await start(sessions);
    onTestFinished(() => app.close());
    await sessions.drain({ notice: 0 });
    const leaving = await ask(app);
    expect([leaving.status, JSON.parse(leaving.body).status]).toEqual([503, "leaving"]);
  });

  it("answers 503 while draining where that is asked for", async () => {
    const { sessions } = setUp();
    const app = await start(sessions, { drainingStatus: 503 });
    onTestFinished(() => app.close());
    void sessions.drain({ notice: "1h" });
    expect((await ask(app)).status).toBe(503);
  });
});

describe("health()", () => {
  it("asks the store once a second at most, however many balancers check", async () => {
    const { store, sessions } = setUp();
    const start = performance.now();
    for (let check = 0; check < 1000; check += 1) sessions.health();
    await until(() => sessions.health().store === "up", "the store's answer");
    for (let check = 0; check < 1000; check += 1) sessions.health();
    expect(store.count()).toBeLessThanOrEqual(1 + Math.floor((performance.now() - start) / 1000));
  });

  it("tells of a store that is down, and of one that hangs, and stays healthy: all nodes share that store", async () => {
    const { store, sessions } = setUp();
    expect(sessions.health()).toEqual({ status: "healthy", store: "unknown", inFlight: 0 });
    await until(() => sessions.health().store === "up", "the store to be up");
    store.failing.add("read");
    await until(() => sessions.health().store === "down", "the store to be down");
    store.failing.clear();
    await until(() => sessions.health().store === "up", "the store to be up again");
    const hold = store.hold("read");
    await until(() => sessions.health().store === "down", "the store to hang");
    expect(sessions.health().status).toBe("healthy");
    hold.release();
  });

  it("opens no breaker and emits no event, whatever the store does", async () => {
    const { store, sessions } = setUp();
    let errors = 0;
    sessions.on("storeError", () => (errors += 1));
    store.hold("read");
    await until(() => sessions.health().store === "down", "the store to hang");
    expect(errors).toBe(0);
  });
});

describe("drain()", () => {
  it("serves everybody meanwhile, new sessions included", async () => {
    const { sessions } = setUp();
    const drained = sessions.drain({ notice: 50 });
    const client = new Client(sessions);
    await client.request((session) => (session.user = "ada"));
    await drained;
    await client.request((session) => expect(session.user).toBe("ada"));
    expect((await new Client(sessions).request((session) => (session.user = "bob"))).setCookies).toHaveLength(1);
  });

  it("takes twice the notice, and is joined by a second call", async () => {
    const { sessions } = setUp();
    const start = performance.now();
    const drained = sessions.drain({ notice: 100 });
    expect(sessions.drain({ notice: "1h" })).toBe(drained);
    await drained;
    expect(performance.now() - start).toBeGreaterThanOrEqual(190);
  });

  it("ends at once when close() is called", async () => {
    const { sessions } = setUp();
    const drained = sessions.drain({ notice: "1h" });
    await sessions.close();
    await drained;
    expect(sessions.health().status).toBe("closed");
  });

  it("after close() changes nothing", async () => {
    const { sessions } = setUp();
    await sessions.close();
    await sessions.drain({ notice: "1h" });
    expect(sessions.health().status).toBe("closed");
  });

  it("refuses a notice that is none", async () => {
    const { sessions } = setUp();
    expect(() => sessions.drain({ notice: "soon" as "1s" })).toThrow(/notice.*"soon"/);
  });
});
