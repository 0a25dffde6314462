import { describe, expect, it } from "vitest";
import { createSessions, memoryStore, type SessionEvents, type SessionOptions } from "../../src/index.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { Client } from "../support/exchange.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "the newest secret, of thirty-two characters";

async function setUp(options: Partial<SessionOptions> = {}) {
  const store = probeStore(memoryStore());
  const sessions = createSessions({ secret, store, commit: "background", ...options });
  const { cookie } = await signIn(sessions, { user: "alice" });
  store.forget();
  return { store, sessions, client: new Client(sessions, cookie) };
}

describe('commit: "background"', () => {
  it("lets the response leave while the save is under way; this node's next request reads what it wrote", async () => {
    const { store, client } = await setUp();
    const request = await client.arrive();
    const hold = store.hold("write");
    request.session.views = 1;
    expect(request.visit.commit()).toBeUndefined();
    await hold.reached;
    const next = client.arrive();
    hold.release();
    expect((await next).session.views).toBe(1);
    expect(store.count("write")).toBe(1);
  });

  it("keeps the order of a session's saves", async () => {
    const { client } = await setUp();
    const requests = await Promise.all([client.arrive(), client.arrive(), client.arrive()]);
    requests.forEach((request, index) => {
      request.session.last = index;
      request.session[`key${index}`] = index;
      expect(request.visit.commit()).toBeUndefined();
    });
    await client.request((session) =>
      expect({ ...session }).toEqual({ user: "alice", last: 2, key0: 0, key1: 1, key2: 2 }),
    );
  });

  it("saves once, also when the end of the response looks again", async () => {
    const { store, client, sessions } = await setUp();
    const request = await client.arrive();
    request.session.views = 1;
    void request.visit.commit();
    void request.visit.finish(true);
    await sessions.close();
    expect(store.count("write")).toBe(1);
  });

  it.each(["a new session", "a login", "a logout", "remember me"])("waits for %s", async (what) => {
    const { store, client, sessions } = await setUp();
    const holder = what === "a new session" ? new Client(sessions) : client;
    const request = await holder.arrive();
    if (what === "a new session") request.session.user = "bob";
    if (what === "a login") void request.session.renew();
    if (what === "a logout") void request.session.destroy();
    if (what === "remember me") request.session.cookie.maxAge = "7d";
    await request.visit.commit();
    expect(request.exchange.setCookies).toHaveLength(1);
    expect(store.count("write") + store.count("remove")).toBeGreaterThan(0);
  });

  it("fails the response for a value that can't be stored", async () => {
    const { client } = await setUp();
    const request = await client.arrive();
    request.session.bad = 1n;
    await expect(request.visit.commit()).rejects.toMatchObject({ code: "ERR_SESSION_VALUE" });
  });

  it("reports a save that the store failed, as the response has gone", async () => {
    const { store, client, sessions } = await setUp();
    const errors: SessionEvents["storeError"][] = [];
    sessions.on("storeError", (event) => void errors.push(event));
    const request = await client.arrive();
    store.failing.add("write");
    request.session.views = 1;
    expect(request.visit.commit()).toBeUndefined();
    await sessions.close();
    expect(errors.map(({ operation }) => operation)).toEqual(["write"]);
  });

  it("is drained by close(): nothing that was answered is lost by an orderly end", async () => {
    const { store, client, sessions } = await setUp();
    const requests = await Promise.all(Array.from({ length: 20 }, () => client.arrive()));
    store.delayMs.write = 2;
    requests.forEach((request, index) => {
      request.session[`key${index}`] = index;
      expect(request.visit.commit()).toBeUndefined();
    });
    await sessions.close();
    const after = new Client(createSessions({ secret, store }), client.cookie);
    await after.request((session) => expect(Object.keys(session)).toHaveLength(21));
  });

  it("waits for saves once a thousand are under way", async () => {
    const { store, client } = await setUp({ storeTimeout: "1m" });
    const hold = store.hold("write");
    const requests = await Promise.all(Array.from({ length: 1001 }, () => client.arrive()));
    const answers = requests.map((request, index) => {
      request.session[`key${index}`] = index;
      return request.visit.commit();
    });
    expect(answers.filter((answer) => answer !== undefined)).toHaveLength(1);
    hold.release();
    await Promise.all(answers);
  });
});
