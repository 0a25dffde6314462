/** `holdfast/testing` as people use it to test their own apps: supertest and `inject`, without a login round trip. */
import express from "express";
import Fastify from "fastify";
import supertest from "supertest";
import { describe, expect, it } from "vitest";
import { session as expressSession } from "../../adapters/express.ts";
import { session as fastifySession } from "../../adapters/fastify.ts";
import { createSessions, memoryStore } from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { signIn } from "../../src/testing/sign-in.ts";

const secret = "a secret of at least thirty-two characters";

describe("signIn", () => {
  it("signs a supertest request in", async () => {
    const sessions = createSessions({ secret, store: memoryStore() });
    const app = express();
    app.use(expressSession(sessions));
    app.get("/me", (req, res) => void res.json({ id: req.session.id, data: { ...req.session } }));
    const { cookie, id } = await signIn(sessions, { user: "ada" });
    const answer = await supertest(app).get("/me").set("Cookie", cookie);
    expect(answer.body).toEqual({ id, data: { user: "ada" } });
    expect((await supertest(app).get("/me")).body).toMatchObject({ data: {} });
  });

  it("signs an injected request in, with a lifetime of its own", async () => {
    const clock = manualClock();
    const sessions = createSessions({ secret, store: memoryStore({ clock: clock.now }), ttl: "1h" });
    const app = Fastify();
    await app.register(fastifySession, { sessions });
    app.get("/me", async (request) => ({ ...request.session }));
    const { headers } = await signIn(sessions, { user: "ada" }, { maxAge: "7d" });
    clock.advance(6 * 86_400_000);
    expect((await app.inject({ url: "/me", headers })).json()).toEqual({ user: "ada" });
    clock.advance(7 * 86_400_000);
    expect((await app.inject({ url: "/me", headers })).json()).toEqual({});
    await app.close();
  });

  it("works where the cookie is __Host- and secure", async () => {
    const sessions = createSessions({ secret, store: memoryStore(), cookie: { secure: true } });
    expect((await signIn(sessions, {})).cookie).toMatch(/^__Host-sid=/);
  });
});
