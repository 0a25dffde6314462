import { describe, expect, it } from "vitest";
import { createSessions, memoryStore, type SessionOptions, type Sessions, type Store } from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { Client } from "../support/exchange.ts";
import { heard } from "../support/heard.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "the newest secret, of thirty-two characters";

function setUp(options: Partial<SessionOptions> = {}) {
  const clock = manualClock();
  const inner = memoryStore({ clock: () => clock.now() });
  const store = probeStore(inner);
  const sessions = createSessions({ secret, store, ...options });
  return { clock, store, sessions };
}

async function signedIn(sessions: Sessions): Promise<Client> {
  const client = new Client(sessions);
  await client.request((session) => Object.assign(session, { user: "alice", cart: ["pen"] }));
  return client;
}

describe("destroy()", () => {
  it("removes the record, clears the cookie and empties the object", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    const old = client.cookie;
    const destroyed = heard(sessions, "destroyed");
    store.forget();
    const exchange = await client.request(async (session) => {
      await session.destroy();
      expect({ ...session }).toEqual({});
    });
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read", "remove"]);
    expect(exchange.setCookies).toEqual([expect.stringMatching(/^sid=; Max-Age=0; Path=\/; Expires=Thu, 01 Jan 1970/)]);
    expect(destroyed).toEqual([{ id: expect.any(String) as string, reason: "logout" }]);
    await new Client(sessions, old).request((session) => expect(session.user).toBeUndefined());
  });

  it("is final: the late save of a slow request is dropped, reported, and sets no cookie", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    const gone = heard(sessions, "gone");
    const slow = await client.arrive();
    await client.twin().request((session) => session.destroy());
    slow.session.views = 1;
    expect(await slow.session.save()).toBe("gone");
    const exchange = await client.leave(slow);
    expect(exchange.setCookies).toEqual([]);
    expect(gone).toEqual([{ id: slow.session.id, operation: "save", reason: "logout" }]);
    await client.request((session) => expect({ ...session }).toEqual({}));
  });

  it("is final: a late touch or reload brings nothing back either", async () => {
    const { clock, sessions } = setUp({ touchInterval: 1000 });
    const client = await signedIn(sessions);
    const slow = await client.arrive();
    await client.twin().request((session) => session.destroy());
    clock.advance(2000);
    expect((await client.leave(slow)).setCookies).toEqual([]);
    await expect(slow.session.reload()).rejects.toMatchObject({ code: "ERR_SESSION_GONE" });
    await client.request((session) => expect(session.user).toBeUndefined());
  });

  it("without await is completed before the response leaves", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    const exchange = await client.request((session) => void session.destroy());
    expect(exchange.setCookies[0]).toContain("Max-Age=0");
    expect(client.cookie).toBeUndefined();
  });

  it("that the store failed fails the response and leaves the cookie alone", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    const request = await client.arrive();
    store.failing.add("remove");
    await expect(request.session.destroy()).rejects.toMatchObject({ code: "ERR_SESSION_STORE", status: 503 });
    await expect(request.visit.commit()).rejects.toMatchObject({ status: 503, headers: { "retry-after": "1" } });
    expect(request.exchange.setCookies).toEqual([]);
  });

  it("on a request without a session does nothing", async () => {
    const { sessions, store } = setUp();
    const exchange = await new Client(sessions).request((session) => session.destroy());
    expect(exchange.setCookies).toEqual([]);
    expect(store.count()).toBe(0);
  });

  it("twice in parallel clears the cookie once: the second may meet the cookie of a newer login", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    const [first, second] = [await client.arrive(), await client.arrive()];
    await first.session.destroy();
    await second.session.destroy();
    expect((await client.leave(second)).setCookies).toEqual([]);
    expect((await client.leave(first)).setCookies).toHaveLength(1);
  });
});

describe("session = null", () => {
  it("is destroy()", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    store.forget();
    const exchange = await client.request((_session, { visit }) => {
      visit.session = null;
      expect(visit.session).toBeNull();
    });
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read", "remove"]);
    expect(exchange.setCookies[0]).toContain("Max-Age=0");
  });

  it("then an object begins another session under a new id", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    const before = client.cookie;
    const exchange = await client.request((_session, { visit }) => {
      visit.session = null;
      visit.session = { user: "bob" };
    });
    expect(exchange.setCookies).toHaveLength(1);
    expect(client.cookie).not.toBe(before);
    await client.request((session) => expect({ ...session }).toEqual({ user: "bob" }));
  });

  it("set to an object replaces the data under the same id", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    const exchange = await client.request((_session, { visit }) => {
      visit.session = { theme: "dark" };
    });
    expect(exchange.setCookies).toEqual([]);
    await client.request((session) => expect({ ...session }).toEqual({ theme: "dark" }));
  });

  it.each([["a string"], [42], [undefined], [["array"]], [true]])("refuses %s", async (value) => {
    const { sessions } = setUp();
    const { visit } = await new Client(sessions).arrive();
    expect(() => {
      visit.session = value;
    }).toThrow(expect.objectContaining({ code: "ERR_SESSION_ASSIGN" }) as Error);
  });
});

describe("renew()", () => {
  it("keeps the data under a new id; the old one is dead at once", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    const old = client.cookie;
    const renewed = heard(sessions, "renewed");
    store.forget();
    await client.request(async (session) => {
      const { id } = session;
      session.user = "bob";
      await session.renew();
      expect(renewed).toEqual([{ id: session.id, previousId: id }]);
      expect(session.id).not.toBe(id);
    });
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read", "write", "write"]);
    await client.request((session) => expect({ ...session }).toEqual({ user: "bob", cart: ["pen"] }));
    await new Client(sessions, old).request((session) => expect({ ...session }).toEqual({}));
  });

  it("takes a late save of another request along", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    const login = await client.arrive();
    const other = await client.arrive();
    const hold = store.hold("write");
    const renewing = login.session.renew();
    await hold.reached;
    store.passing.write = 1;
    other.session.late = 1;
    expect(await other.session.save()).toBe("saved");
    hold.release();
    await renewing;
    await client.leave(login);
    await client.request((session) => expect({ ...session }).toEqual({ user: "alice", cart: ["pen"], late: 1 }));
  });

  it("racing with a logout begins a session of this request's own changes, without the old user's data", async () => {
    const { sessions } = setUp({ onConflict: "reject" });
    const client = await signedIn(sessions);
    const login = await client.arrive();
    await client.twin().request((session) => session.destroy());
    const disputed = [heard(sessions, "conflict"), heard(sessions, "merged")];
    Object.assign(login.session, { pending: "bob", cart: ["cup"] });
    await login.session.renew();
    await client.leave(login);
    await client.request((session) => expect({ ...session }).toEqual({ pending: "bob", cart: ["cup"] }));
    expect(disputed.flat()).toEqual([]);
  });

  it("twice in parallel gives two sessions, both whole", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    const [a, b] = [await client.arrive(), await client.arrive()];
    await Promise.all([a.session.renew(), b.session.renew()]);
    const [one, two] = [client.twin(), client.twin()];
    await one.leave(a);
    await two.leave(b);
    expect(one.cookie).not.toBe(two.cookie);
    for (const holder of [one, two]) {
      await holder.request((session) => expect({ ...session }).toEqual({ user: "alice", cart: ["pen"] }));
    }
  });

  it("that failed fails the response even if the app does not look", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    const request = await client.arrive();
    store.failing.add("write");
    void request.session.renew();
    await expect(request.visit.commit()).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });
    expect(request.exchange.setCookies).toEqual([]);
  });

  it.each([0, 1])(
    "that failed at write %i keeps what the login wrote away from the old id: whoever planted that cookie is not logged in",
    async (passing) => {
      const { sessions, store } = setUp();
      const client = await signedIn(sessions);
      const request = await client.arrive();
      request.session.user = "victim";
      store.passing.write = passing;
      store.failing.add("write");
      await request.session.renew().catch(() => {});
      store.failing.delete("write");
      await expect(request.visit.commit()).rejects.toMatchObject({ status: 503 });
      await client.request((session) => expect(session.user).toBe("alice"));
    },
  );

  it("whose last answer never came gives the browser the new id with the 503: the old one may be dead", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    const request = await client.arrive();
    store.losing.add("write");
    store.passing.write = 1;
    await expect(request.session.renew()).rejects.toMatchObject({ status: 503 });
    store.losing.delete("write");
    await expect(request.visit.commit()).rejects.toMatchObject({ status: 503 });
    await client.request((session) => expect({ ...session }).toEqual({}));
    expect(request.exchange.setCookies).toHaveLength(1);
    client.keep(request.exchange);
    await client.request((session) => expect({ ...session }).toEqual({ user: "alice", cart: ["pen"] }));
  });

  it.each([
    ["the new record", 1, [2]],
    ["what another request saved", 3, [2, 4]],
  ] as const)("is whole where a failover dropped %s, acknowledged before", async (_, dropped, saves) => {
    const inner = memoryStore();
    let writes = 0;
    const store: Store = {
      ...probeStore(inner),
      write: async (key, record, expected, call) => {
        writes += 1;
        for (const at of saves)
          if (at === writes) await other.request((session) => Object.assign(session, { [`late${at}`]: 1 }));
        if (writes === dropped) return { ok: true, version: "never-stored" };
        return inner.write(key, record, expected, call);
      },
    };
    const client = await signedIn(createSessions({ secret, store: inner }));
    const other = client.twin();
    const login = new Client(createSessions({ secret, store }), client.cookie);
    await login.request((session) => session.renew());
    const late = Object.fromEntries(saves.map((at) => [`late${at}`, 1]));
    await login.request((session) => expect({ ...session }).toEqual({ user: "alice", cart: ["pen"], ...late }));
  });

  it("that fails once another request has saved leaves the old id with what was saved, and the browser with that id", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    const request = await client.arrive();
    await client.twin().request((session) => {
      session.late = 1;
    });
    request.session.user = "victim";
    // The new record, the end of the old one, which is refused, and what the other request saved: that one fails.
    store.passing.write = 2;
    store.failing.add("write");
    await expect(request.session.renew()).rejects.toMatchObject({ status: 503 });
    store.failing.delete("write");
    await expect(request.visit.commit()).rejects.toMatchObject({ status: 503 });
    expect(request.exchange.setCookies).toEqual([]);
    await client.request((session) => expect({ ...session }).toEqual({ user: "alice", cart: ["pen"], late: 1 }));
  });

  it("before anything is stored just changes the id", async () => {
    const { sessions, store } = setUp();
    const client = new Client(sessions);
    await client.request(async (session) => {
      session.user = "alice";
      await session.renew();
    });
    expect(store.calls.map(({ verb }) => verb)).toEqual(["write"]);
    await client.request((session) => expect(session.user).toBe("alice"));
  });
});

describe("regenerate()", () => {
  it("begins an empty session in another object; the old record is destroyed", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    const old = client.cookie;
    store.forget();
    await client.request(async (session, { visit }) => {
      await session.regenerate();
      expect(visit.session).not.toBe(session);
      expect({ ...visit.session }).toEqual({});
      expect({ ...session }).toEqual({ user: "alice", cart: ["pen"] });
      Object.assign(visit.session ?? {}, { user: "bob" });
    });
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read", "remove", "write"]);
    await client.request((session) => expect({ ...session }).toEqual({ user: "bob" }));
    await new Client(sessions, old).request((session) => expect({ ...session }).toEqual({}));
  });

  it("with nothing written afterwards leaves no record and clears the cookie", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    store.forget();
    const exchange = await client.request((session) => session.regenerate());
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read", "remove"]);
    expect(exchange.setCookies[0]).toContain("Max-Age=0");
  });

  it("carries the named keys over", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    await client.request((session) => session.regenerate(["cart", "missing"]));
    await client.request((session) => expect({ ...session }).toEqual({ cart: ["pen"] }));
  });
});

describe("a cookie whose session ended a moment ago", () => {
  it("of its own logout is anonymous; a plain write is refused and sets no cookie", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    const dead = new Client(sessions, client.cookie);
    await client.request((session) => session.destroy());
    const gone = heard(sessions, "gone");
    store.forget();
    const exchange = await dead.request(async (session) => {
      expect(session.isNew).toBe(true);
      session.user = "mallory";
      expect(await session.save()).toBe("gone");
    });
    expect(exchange.setCookies).toEqual([]);
    expect(store.count("write")).toBe(0);
    expect(gone).toHaveLength(1);
  });

  it.each(["renew", "regenerate"] as const)("of its own logout begins a session at a login by %s()", async (login) => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    const dead = new Client(sessions, client.cookie);
    await client.request((session) => session.destroy());
    await dead.request(async (session, { visit }) => {
      await session[login]();
      Object.assign(visit.session ?? {}, { user: "bob" });
    });
    await dead.request((session) => expect({ ...session }).toEqual({ user: "bob" }));
  });

  it("revoked from elsewhere counts as expired: a write begins a new session", async () => {
    const { sessions } = setUp();
    const destroyed = heard(sessions, "destroyed");
    const client = await signedIn(sessions);
    let id = "";
    await client.request((session) => {
      id = session.id;
    });
    await sessions.destroy(id);
    expect(destroyed).toEqual([{ id, reason: "revoked" }]);
    await client.request((session) => {
      expect(session.user).toBeUndefined();
      session.user = "alice again";
    });
    await client.request((session) => {
      expect(session.user).toBe("alice again");
      expect(session.id).not.toBe(id);
    });
  });

  it("is forgotten after the tombstone's minute: a write begins a new session", async () => {
    const { clock, sessions } = setUp();
    const client = await signedIn(sessions);
    const dead = new Client(sessions, client.cookie);
    await client.request((session) => session.destroy());
    clock.advance(60_000);
    await dead.request((session) => Object.assign(session, { user: "bob" }));
    await dead.request((session) => expect(session.user).toBe("bob"));
  });

  it("is not sent again by a request that still held it, not even for a newer signing key", async () => {
    const older = "an older secret, of thirty-two characters !";
    const { store } = setUp();
    const client = await signedIn(createSessions({ secret: older, store }));
    const sessions = createSessions({ secret: [secret, older], store });
    const holder = new Client(sessions, client.cookie);
    const slow = await holder.arrive();
    await holder.twin().request((session) => session.destroy());
    expect((await holder.leave(slow)).setCookies).toEqual([]);
  });
});

describe("members take a trailing callback", () => {
  it("called exactly once, with the result or the error, and still return a promise", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    const request = await client.arrive();
    const calls: unknown[][] = [];
    const callback = (...args: unknown[]) => void calls.push(args);
    request.session.views = 1;
    expect(await request.session.save(callback)).toBe("saved");
    await request.session.reload(callback);
    await request.session.touch(callback);
    await request.session.update((data) => data.views, callback);
    await request.session.renew(callback);
    store.failing.add("remove");
    await request.session.regenerate(callback).catch(() => {});
    store.failing.delete("remove");
    await request.session.destroy(callback);
    await new Promise((resolve) => setImmediate(resolve));
    expect(
      calls.map(([error, value]) => [error === null ? "ok" : (error as Error).message.slice(0, 25), value]),
    ).toEqual([
      ["ok", "saved"],
      ["ok", undefined],
      ["ok", undefined],
      ["ok", 1],
      ["ok", undefined],
      ["the session store failed:", undefined],
      ["ok", undefined],
    ]);
  });
});
