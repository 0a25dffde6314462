import { describe, expect, it } from "vitest";
import { createSessions, memoryStore, type SessionOptions, type Sessions } from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { Client } from "../support/exchange.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "the newest secret, of thirty-two characters";
const olderSecret = "an older secret, of thirty-two characters !";
const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

function setUp(options: Partial<SessionOptions> = {}) {
  const clock = manualClock();
  const store = probeStore(memoryStore({ clock: () => clock.now() }));
  const sessions = createSessions({ secret, store, ...options });
  return { clock, store, sessions, client: new Client(sessions) };
}

async function signedIn(sessions: Sessions): Promise<Client> {
  const client = new Client(sessions);
  await client.request((session) => {
    session.user = "alice";
  });
  return client;
}

describe("a session begins", () => {
  it("only when data are written: no cookie, no store call before", async () => {
    const { client, store } = setUp();
    const exchange = await client.request((session) => expect(session.user).toBeUndefined());
    expect(exchange.setCookies).toEqual([]);
    expect(store.count()).toBe(0);
  });

  it("with one write, and a cookie that holds the secret and its signature alone", async () => {
    const { client, store } = setUp();
    const exchange = await client.request((session) => {
      session.user = "alice";
    });
    expect(store.calls.map(({ verb }) => verb)).toEqual(["write"]);
    expect(exchange.setCookies).toHaveLength(1);
    expect(exchange.setCookies[0]).toMatch(
      /^sid=[A-Za-z0-9_-]{32}\.[A-Za-z0-9+/]{43}; Path=\/; HttpOnly; SameSite=Lax$/,
    );
    expect(exchange.headers.get("cache-control")).toBe("no-store");
    expect(exchange.headers.get("vary")).toBe("Cookie");
  });

  it("on save() even without data", async () => {
    const { client, store } = setUp();
    await client.request(async (session) => expect(await session.save()).toBe("saved"));
    expect(client.cookie).toBeDefined();
    expect(store.count("write")).toBe(1);
  });

  it("not when data written are taken back in the same request", async () => {
    const { client, store } = setUp();
    await client.request((session) => {
      session.user = "alice";
      delete session.user;
    });
    expect(client.cookie).toBeUndefined();
    expect(store.count()).toBe(0);
  });

  it("under a public id that is the SHA-256 of the secret, stable over requests", async () => {
    const { client, store } = setUp();
    const ids: string[] = [];
    await client.request((session) => {
      session.user = "alice";
      ids.push(session.id, session.sessionId);
    });
    await client.request((session) => ids.push(session.id));
    expect(new Set(ids).size).toBe(1);
    expect(ids[0]).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(client.cookie).not.toContain(ids[0]);
    expect(new Set(store.calls.map(({ key }) => key))).toEqual(new Set(ids));
  });
});

describe("a change", () => {
  it.each<[string, (session: Record<string, unknown>) => void]>([
    ["of a nested value", (session) => (session.cart as { items: number[] }).items.push(3)],
    ["that adds a key", (session) => (session.extra = null)],
    ["that deletes a key", (session) => delete session.user],
    ["to undefined, which is absence", (session) => (session.user = undefined)],
  ])("%s costs a read and a write", async (_name, change) => {
    const { client, store } = setUp();
    await client.request((session) => Object.assign(session, { user: "alice", cart: { items: [1, 2] } }));
    store.forget();
    const exchange = await client.request(change);
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read", "write"]);
    expect(exchange.setCookies).toEqual([]);
  });

  it("is none when the same value is written again", async () => {
    const { client, store } = setUp();
    await client.request((session) => Object.assign(session, { user: "alice", cart: { items: [1, 2] } }));
    store.forget();
    await client.request((session) => Object.assign(session, { user: "alice", cart: { items: [1, 2] }, x: undefined }));
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read"]);
  });

  it("made by somebody else is not undone by a request that only reads", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    const reader = await client.arrive();
    await client.request((session) => (session.views = 1));
    await client.twin().leave(reader);
    await client.request((session) => expect(session.views).toBe(1));
  });

  it("of another key survives: both requests' keys stand, and the later object has both", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    const first = await client.arrive();
    const second = await client.arrive();
    first.session.a = 1;
    second.session.b = 2;
    expect(await first.session.save()).toBe("saved");
    expect(await second.session.save()).toBe("merged");
    expect({ ...second.session }).toEqual({ user: "alice", a: 1, b: 2 });
    await client.request((session) => expect({ ...session }).toEqual({ user: "alice", a: 1, b: 2 }));
  });

  it("of the same key: the later one wins and conflict reports the key", async () => {
    const { sessions } = setUp();
    const conflicts: unknown[] = [];
    sessions.on("conflict", (event) => conflicts.push(event));
    const client = await signedIn(sessions);
    const first = await client.arrive();
    const second = await client.arrive();
    first.session.color = "red";
    second.session.color = "blue";
    await first.session.save();
    await second.session.save();
    expect(conflicts).toEqual([{ id: second.session.id, key: "color" }]);
    await client.request((session) => expect(session.color).toBe("blue"));
  });

  it("by each of 40 parallel requests of one process costs 40 writes, not rounds of refusals", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    const requests = await Promise.all(Array.from({ length: 40 }, () => client.arrive()));
    store.forget();
    await Promise.all(
      requests.map((request, index) => {
        request.session[`key${index}`] = index;
        return client.twin().leave(request);
      }),
    );
    expect(store.count("write")).toBe(40);
    await client.request((session) => expect(Object.keys(session)).toHaveLength(41));
  });

  it("that was merged is in the store, once: nothing is saved or reported again when the response has ended", async () => {
    const { sessions, store } = setUp();
    const merged: unknown[] = [];
    sessions.on("merged", (event) => merged.push(event));
    const client = await signedIn(sessions);
    const [first, second] = [await client.arrive(), await client.arrive()];
    first.session.a = 1;
    await client.twin().leave(first);
    // Its own key stands before the other's in the object, and behind it in the store.
    second.session.b = 2;
    store.forget();
    await client.twin().leave(second);
    await second.visit.finish();
    expect(merged).toHaveLength(1);
    expect(store.calls.map(({ verb }) => verb)).toEqual(["write", "write"]);
    expect(await second.session.save()).toBe("unchanged");
    second.session.b = 3;
    expect(await second.session.save()).toBe("saved");
    await client.request((session) => expect({ ...session }).toMatchObject({ a: 1, b: 3 }));
  });

  it("waiting for its turn ends with its own budget, and the writers behind it still get theirs", async () => {
    const { sessions, store } = setUp({ storeTimeout: 300 });
    const client = await signedIn(sessions);
    const [first, second, third] = [await client.arrive(), await client.arrive(), await client.arrive()];
    const hold = store.hold("write");
    first.session.a = 1;
    const firstSave = first.session.save();
    await hold.reached;
    second.session.b = 2;
    await expect(second.session.save()).rejects.toMatchObject({ code: "ERR_SESSION_STORE_TIMEOUT" });
    await expect(firstSave).rejects.toMatchObject({ code: "ERR_SESSION_STORE_TIMEOUT" });
    hold.release();
    third.session.c = 3;
    expect(await third.session.save()).toMatch(/^(saved|merged)$/);
  });

  it("made while a save is under way is a change of its own, saved by the commit", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    const request = await client.arrive();
    const hold = store.hold("write");
    request.session.a = 1;
    const saving = request.session.save();
    await hold.reached;
    request.session.b = 2;
    hold.release();
    expect(await saving).toBe("saved");
    await client.leave(request);
    await client.request((session) => expect({ ...session }).toEqual({ user: "alice", a: 1, b: 2 }));
  });
});

describe("update(fn)", () => {
  it("runs on the newest data, and leaves this request's unsaved changes pending", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    const request = await client.arrive();
    await client.request((session) => (session.views = 10));
    request.session.theme = "dark";
    const views = await request.session.update((data) => {
      expect(data.theme).toBeUndefined();
      data.views = Number(data.views ?? 0) + 1;
      return data.views;
    });
    expect(views).toBe(11);
    expect(request.session.views).toBe(11);
    expect(request.session.theme).toBe("dark");
    await client.leave(request);
    await client.request((session) => expect({ ...session }).toEqual({ user: "alice", views: 11, theme: "dark" }));
  });

  it("counts exactly under 50 parallel calls", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    await Promise.all(
      Array.from({ length: 50 }, () =>
        client.twin().request((session) =>
          session.update((data) => {
            data.views = Number(data.views ?? 0) + 1;
          }),
        ),
      ),
    );
    await client.request((session) => expect(session.views).toBe(50));
  });

  it("sees the newest data even when it changes nothing", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    const stale = await client.arrive();
    await client.request((session) => (session.seats = 5));
    expect(await stale.session.update((data) => data.seats)).toBe(5);
  });

  it("counts what fn throws only at the newest data", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    const stale = await client.arrive();
    await client.request((session) => (session.seats = 1));
    const book = (data: Record<string, unknown>) => {
      if (!data.seats) throw new RangeError("sold out");
      data.seats = Number(data.seats) - 1;
    };
    await stale.session.update(book);
    await expect(stale.session.update(book)).rejects.toThrow("sold out");
  });

  it("creates a missing session", async () => {
    const { client } = setUp();
    await client.request((session) => session.update((data) => (data.views = 1)));
    await client.request((session) => expect(session.views).toBe(1));
  });

  it("rejects on an ended session with ERR_SESSION_GONE", async () => {
    const { sessions } = setUp();
    const client = await signedIn(sessions);
    const late = await client.arrive();
    await client.twin().request((session) => session.destroy());
    await expect(late.session.update((data) => (data.x = 1))).rejects.toMatchObject({ code: "ERR_SESSION_GONE" });
  });

  it("rejects what is no synchronous function, and stores nothing", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    store.forget();
    await client.request(async (session) => {
      await expect(session.update(async (data) => (data.x = 1))).rejects.toMatchObject({ code: "ERR_SESSION_UPDATE" });
      // @ts-expect-error users of plain JavaScript may forget the function
      await expect(session.update()).rejects.toMatchObject({ code: "ERR_SESSION_UPDATE" });
    });
    expect(store.count("write")).toBe(0);
  });

  it("passes on what fn throws, and stores nothing", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    store.forget();
    await client.request((session) =>
      expect(
        session.update((data) => {
          data.x = 1;
          throw new RangeError("sold out");
        }),
      ).rejects.toThrow("sold out"),
    );
    expect(store.count("write")).toBe(0);
  });
});

describe("what can't be stored", () => {
  it("fails the commit with the key's name; nothing is half saved, the old record is intact", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    const request = await client.arrive();
    store.forget();
    request.session.user = "bob";
    request.session.bad = new Map();
    await expect(request.visit.commit()).rejects.toMatchObject({
      code: "ERR_SESSION_VALUE",
      message: expect.stringContaining('session["bad"]') as string,
    });
    expect(await request.visit.commit()).toBeUndefined();
    expect(store.count("write")).toBe(0);
    await client.request((session) => expect({ ...session }).toEqual({ user: "alice" }));
  });

  it.each(["id", "save", "destroy", "isDegraded", "sessionId", "expiresAt"])(
    "includes a key named like the member %s, refused at assignment and at save",
    async (name) => {
      const { client } = setUp();
      const request = await client.arrive();
      const assign = () => {
        request.session[name] = 1;
      };
      expect(assign).toThrow(expect.objectContaining({ code: "ERR_SESSION_RESERVED_KEY" }) as Error);
      Object.defineProperty(request.session, name, { value: 1, enumerable: true, configurable: true });
      await expect(request.visit.commit()).rejects.toMatchObject({ code: "ERR_SESSION_RESERVED_KEY" });
    },
  );

  it("does not include keys named like members of every object", async () => {
    const { client } = setUp();
    await client.request((session) => {
      for (const key of ["__proto__", "", "constructor", "hasOwnProperty", "toString", "data", "get", "set"]) {
        session[key] = { key };
      }
    });
    await client.request((session) => {
      expect(Object.keys(session)).toHaveLength(8);
      for (const [key, value] of Object.entries(session)) expect(value).toEqual({ key });
      expect(session).toBeInstanceOf(Object);
    });
  });
});

describe("lifetimes", () => {
  it("are extended by activity, written down at most once per touchInterval", async () => {
    const { clock, store, sessions } = setUp({ ttl: hour, touchInterval: minute });
    const client = await signedIn(sessions);
    store.forget();
    for (let i = 0; i < 20; i++) {
      clock.advance(6000);
      await client.request(() => {});
    }
    expect(store.count("touch")).toBe(2);
    expect(store.count("write")).toBe(0);
    clock.advance(hour - minute - 1);
    await client.request((session) => expect(session.user).toBe("alice"));
    clock.advance(hour);
    await client.request((session) => expect(session.user).toBeUndefined());
  });

  it("are written down on every request with touchInterval 0, but not on top of a save", async () => {
    const { clock, store, sessions } = setUp({ ttl: hour, touchInterval: 0 });
    const client = await signedIn(sessions);
    store.forget();
    for (const views of [1, 2]) {
      clock.advance(1);
      await client.request(() => {});
      await client.request((session) => (session.views = views));
    }
    const verbs = store.calls.map(({ verb }) => verb);
    expect(verbs.filter((verb) => verb !== "read")).toEqual(["touch", "write", "touch", "write"]);
  });

  it("are extended by requests that never look at the session", async () => {
    const { clock, store, sessions } = setUp({ ttl: hour, touchInterval: minute });
    const client = await signedIn(sessions);
    clock.advance(2 * minute);
    const visit = sessions.visit((await client.arrive()).exchange);
    store.forget();
    await visit.begin();
    await visit.commit();
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read", "touch"]);
  });

  it("are fixed from creation without rolling; touch() extends them all the same", async () => {
    const { clock, sessions } = setUp({ ttl: hour, rolling: false });
    const client = await signedIn(sessions);
    clock.advance(hour - 1);
    await client.request((session) => (session.views = 1));
    await client.request((session) => session.touch());
    clock.advance(hour - 1);
    await client.request((session) => expect(session.user).toBe("alice"));
    clock.advance(1);
    await client.request((session) => expect(session.user).toBeUndefined());
  });

  it("end at the absolute deadline whatever the activity, and a login begins another one", async () => {
    const { clock, sessions } = setUp({ ttl: hour, absoluteTimeout: 3 * hour });
    const client = await signedIn(sessions);
    for (let i = 0; i < 4; i++) {
      clock.advance(40 * minute);
      await client.request((session) => expect(session.user).toBe("alice"));
    }
    await client.request((session) => session.renew());
    clock.advance(30 * minute);
    await client.request((session) => expect(session.user).toBe("alice"));
    for (let i = 0; i < 4; i++) {
      clock.advance(50 * minute);
      await client.request(() => {});
    }
    await client.request((session) => expect(session.user).toBeUndefined());
  });

  it("are told to the app", async () => {
    const { clock, sessions } = setUp({ ttl: hour, absoluteTimeout: day });
    const start = clock.now();
    const client = await signedIn(sessions);
    clock.advance(2 * minute);
    const request = await client.arrive();
    expect(request.session.expiresAt).toBe(start + hour);
    expect(request.session.absoluteExpiresAt).toBe(start + day);
    await request.session.touch();
    expect(request.session.expiresAt).toBe(start + 2 * minute + hour);
    expect(request.session.absoluteExpiresAt).toBe(start + day);
  });
});

describe("session.cookie.maxAge", () => {
  it("gives one session a lifetime of its own, in the store and in the browser, and is stored with it", async () => {
    const { clock, sessions } = setUp({ ttl: hour });
    const client = await signedIn(sessions);
    const exchange = await client.request((session) => {
      session.cookie.maxAge = 7 * day;
    });
    expect(exchange.setCookies[0]).toContain(`Max-Age=${7 * 24 * 3600}; `);
    expect(exchange.setCookies[0]).toContain("Expires=");
    clock.advance(6 * day);
    await client.request((session) => {
      expect(session.user).toBe("alice");
      expect(session.cookie.maxAge).toBe(7 * day);
    });
  });

  it("is counted as a change only when it changes", async () => {
    const { sessions, store } = setUp();
    const client = await signedIn(sessions);
    await client.request((session) => (session.cookie.maxAge = "7d"));
    store.forget();
    const exchange = await client.request((session) => (session.cookie.maxAge = 7 * day));
    expect(store.count("write")).toBe(0);
    expect(exchange.setCookies).toEqual([]);
  });

  it("null makes a browser-session cookie of a persistent one", async () => {
    const { sessions } = setUp({ cookie: { maxAge: "ttl" } });
    const client = await signedIn(sessions);
    const exchange = await client.request((session) => (session.cookie.maxAge = null));
    expect(exchange.setCookies[0]).not.toMatch(/Max-Age|Expires/);
  });

  it.each([-1, 0, Number.NaN, Number.POSITIVE_INFINITY, 9e15, "ever", {}, undefined, true])(
    "refuses %s with an error that says what to write",
    async (value) => {
      const { client } = setUp();
      const { session } = await client.arrive();
      const assign = () => {
        // Wrong on purpose.
        session.cookie.maxAge = value as number;
      };
      expect(assign).toThrow(expect.objectContaining({ code: "ERR_SESSION_COOKIE" }) as Error);
    },
  );

  it("above absoluteTimeout is cut in the store and in the browser", async () => {
    const { clock, sessions } = setUp({ absoluteTimeout: 2 * day });
    const client = await signedIn(sessions);
    const exchange = await client.request((session) => (session.cookie.maxAge = 7 * day));
    expect(exchange.setCookies[0]).toContain(`Max-Age=${2 * 24 * 3600}; `);
    clock.advance(2 * day);
    await client.request((session) => expect(session.user).toBeUndefined());
  });

  it("stands beside the options' own attributes", async () => {
    const { client } = setUp({ cookie: { path: "/app", domain: () => "example.org" } });
    const { cookie } = (await client.arrive()).session;
    expect(cookie).toMatchObject({ name: "sid", path: "/app", httpOnly: true, sameSite: "lax", secure: "auto" });
    expect(cookie.domain).toBeUndefined();
    expect(JSON.parse(JSON.stringify(cookie))).toEqual({ name: "sid", maxAge: null });
  });

  it("set by expires is the same", async () => {
    const { client } = setUp();
    const { session } = await client.arrive();
    session.cookie.expires = new Date(Date.now() + hour);
    expect(Math.abs(Number(session.cookie.maxAge) - hour)).toBeLessThan(1000);
    expect(Math.abs(Number(session.cookie.expires) - Date.now() - hour)).toBeLessThan(1000);
  });
});

describe("the cookie is sent again", () => {
  it("under the newest key when an older one signed it, on a request that only reads, and is never cleared", async () => {
    const { sessions, store } = setUp({ secret: olderSecret });
    const client = await signedIn(sessions);
    const before = client.cookie;
    const rotated = new Client(createSessions({ secret: [secret, olderSecret], store }), client.cookie);
    const exchange = await rotated.request((session) => expect(session.user).toBe("alice"));
    expect(exchange.setCookies).toHaveLength(1);
    expect(rotated.cookie).not.toBe(before);
    expect(rotated.cookie?.split(".")[0]).toBe(before?.split(".")[0]);
    const newest = new Client(createSessions({ secret, store }), rotated.cookie);
    expect((await newest.request((session) => expect(session.user).toBe("alice"))).setCookies).toEqual([]);
  });

  it("when it is persistent and a touch extended the session, and only if the touch succeeded", async () => {
    const { clock, sessions, store } = setUp({ ttl: hour, touchInterval: minute, cookie: { maxAge: "ttl" } });
    const client = await signedIn(sessions);
    expect((await client.request(() => {})).setCookies).toEqual([]);
    clock.advance(2 * minute);
    expect((await client.request(() => {})).setCookies[0]).toContain("Max-Age=3600");
    clock.advance(2 * minute);
    store.failing.add("touch");
    expect((await client.request(() => {})).setCookies).toEqual([]);
  });

  it("not otherwise", async () => {
    const { clock, sessions } = setUp({ ttl: hour, touchInterval: minute });
    const client = await signedIn(sessions);
    clock.advance(2 * minute);
    expect((await client.request((session) => (session.views = 1))).setCookies).toEqual([]);
  });
});

describe("a cookie attribute's function that throws", () => {
  it("makes the commit reject, also where nothing changed, and lets the error's page leave", async () => {
    const store = memoryStore();
    const older = "an older secret, of thirty-two characters!";
    const { cookie } = await signIn(createSessions({ secret: older, store }), { user: "alice" });
    const path = (): string => {
      throw new Error("no path for this host");
    };
    const sessions = createSessions({ secret: [secret, older], store, cookie: { path } });
    const { visit } = await new Client(sessions, cookie).arrive();
    await expect(visit.commit()).rejects.toThrow("no path for this host");
    expect(visit.commit()).toBeUndefined();
  });

  it("fails the operation that needed the cookie, and no other", async () => {
    let isDown = true;
    const path = (): string => {
      if (isDown) throw new Error("no path for this host");
      return "/";
    };
    const { client } = setUp({ cookie: { path } });
    const request = await client.arrive();
    request.session.user = "alice";
    const first = request.session.save();
    const second = request.session.update((data) => (data.views = 1));
    await expect(first).rejects.toThrow("no path for this host");
    isDown = false;
    expect(await second).toBe(1);
  });
});
