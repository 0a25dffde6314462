import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { type Demo, frameworks, type Shown, startDemo, Visitor } from "./demo.ts";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

/** Each way of keeping the sessions, with a demo for its tests. */
function describeOnEachStore(tests: (visitor: () => Visitor) => void): void {
  describe.each(["this process's memory", "Redis"])("the demo with its sessions in %s", (store) => {
    let demo: Demo;
    beforeAll(async () => {
      demo = await startDemo(store === "Redis" ? redis.url : undefined);
    });
    afterAll(() => demo.close());
    tests(() => new Visitor(demo.urls));
  });
}

describeOnEachStore((newVisitor) => {
  it("answers who only looks without a session, on each framework", async () => {
    const visitor = newVisitor();
    for (const framework of frameworks) {
      const answer = await visitor.call(framework, "GET /api/session");
      expect(answer.status).toBe(200);
      expect(answer.setCookies).toEqual([]);
      const { id, idleLeftMs, absoluteLeftMs, ...rest } = answer.json<Shown>();
      expect(rest).toEqual({ framework, isNew: true, user: null, views: 0, cart: [] });
      expect(id).toMatch(/^[\w-]{43}$/);
      expect(idleLeftMs).toBeGreaterThan(0);
      expect(absoluteLeftMs).toBeGreaterThan(idleLeftMs);
    }
  });

  it("shows on each framework what was done on the others", async () => {
    const visitor = newVisitor();
    expect((await visitor.call("express", "POST /api/views")).json()).toEqual({ framework: "express", views: 1 });
    expect((await visitor.call("koa", "POST /api/views")).json()).toEqual({ framework: "koa", views: 2 });
    expect((await visitor.call("fastify", "POST /api/views")).json()).toEqual({ framework: "fastify", views: 3 });
    expect((await visitor.call("koa", "POST /api/cart", { item: "  rope " })).json()).toMatchObject({ cart: ["rope"] });
    expect((await visitor.call("express", "POST /api/cart", { item: "kelp" })).status).toBe(200);

    const seen = await Promise.all(frameworks.map((framework) => visitor.session(framework)));
    expect(new Set(seen.map(({ id }) => id)).size).toBe(1);
    for (const { isNew, views, cart } of seen) {
      expect({ isNew, views, cart }).toEqual({ isNew: false, views: 3, cart: ["rope", "kelp"] });
    }
    expect((await visitor.call("fastify", "DELETE /api/cart")).json()).toMatchObject({ cart: [] });
    expect((await visitor.session("express")).cart).toEqual([]);
    expect(visitor.cookies.size).toBe(1);
  });

  it.each(frameworks)(
    "gives the session a new id when somebody logs in on %s, and keeps the data",
    async (framework) => {
      const visitor = newVisitor();
      await visitor.call(framework, "POST /api/cart", { item: "kelp" });
      const before = await visitor.session(framework);
      const oldCookie = visitor.cookies.get("sid");
      const answer = await visitor.call(framework, "POST /api/login", { user: "ada" });
      expect(answer.json()).toMatchObject({ framework, user: "ada", cart: ["kelp"] });
      for (const other of frameworks) {
        const { id, user, cart } = await visitor.session(other);
        expect({ user, cart }).toEqual({ user: "ada", cart: ["kelp"] });
        expect(id).not.toBe(before.id);
        expect(id).toBe(answer.json()["id"]);
      }
      const thief = newVisitor();
      thief.cookies.set("sid", oldCookie ?? "");
      expect(await thief.session("koa")).toMatchObject({ user: null, isNew: true, cart: [] });
    },
  );

  it.each(frameworks)("ends the session everywhere when somebody logs out on %s", async (framework) => {
    const visitor = newVisitor();
    await visitor.call("koa", "POST /api/login", { user: "ada" });
    const cookie = visitor.cookies.get("sid") ?? "";
    expect((await visitor.call(framework, "POST /api/logout")).json()).toEqual({ framework, user: null });
    expect(visitor.cookies.size).toBe(0);
    visitor.cookies.set("sid", cookie);
    for (const other of frameworks) expect(await visitor.session(other)).toMatchObject({ user: null, isNew: true });
  });

  it("lets the same visitor log in again after a logout", async () => {
    const visitor = newVisitor();
    await visitor.call("express", "POST /api/login", { user: "ada" });
    await visitor.call("koa", "POST /api/logout");
    expect((await visitor.call("koa", "POST /api/logout")).status).toBe(200);
    await visitor.call("fastify", "POST /api/login", { user: "grace" });
    expect((await visitor.session("express")).user).toBe("grace");
  });

  it("counts each of 50 parallel views over the three ports", async () => {
    const visitor = newVisitor();
    await visitor.call("express", "POST /api/cart", { item: "kelp" });
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => visitor.call(frameworks[index % 3] ?? "express", "POST /api/views")),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200));
    const counts = answers.map((answer) => answer.json<{ views: number }>().views).sort((a, b) => a - b);
    expect(counts).toEqual(Array.from({ length: 50 }, (_, index) => index + 1));
    expect(await visitor.session("koa")).toMatchObject({ views: 50, cart: ["kelp"] });
  });

  it("refuses more than a session should hold", async () => {
    const visitor = newVisitor();
    for (let count = 0; count < 20; count++) {
      expect((await visitor.call("koa", "POST /api/cart", { item: `item ${count}` })).status).toBe(200);
    }
    for (const framework of frameworks) {
      const answer = await visitor.call(framework, "POST /api/cart", { item: "one more" });
      expect(answer.status).toBe(409);
      expect(answer.json()).toEqual({ error: "The cart is full: it holds 20 items." });
    }
    expect((await visitor.session("express")).cart).toHaveLength(20);
  });
});
