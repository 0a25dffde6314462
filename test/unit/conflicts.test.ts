import { describe, expect, it } from "vitest";
import {
  createSessions,
  memoryStore,
  type SessionEvents,
  type SessionOptions,
  type Store,
  type UserSession,
} from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { Client } from "../support/exchange.ts";
import { expectDone } from "../support/in-time.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "the newest secret, of thirty-two characters";

async function setUp(options: Partial<SessionOptions> = {}) {
  const store = probeStore(memoryStore());
  const sessions = createSessions({ secret, store, ...options });
  const { cookie, id } = await signIn(sessions, { user: "alice", cart: ["pen"], theme: "light" });
  return { store, sessions, id, client: new Client(sessions, cookie) };
}

describe("onConflict", () => {
  it("decides a key that two requests changed, with the base and both values, in the store and in the object", async () => {
    const seen: unknown[][] = [];
    const { client } = await setUp({
      onConflict: (...args) => {
        seen.push(args);
        const [, , mine, theirs] = args as [string, unknown, string[], string[]];
        return [...new Set([...theirs, ...mine])];
      },
    });
    const [first, second] = [await client.arrive(), await client.arrive()];
    first.session.cart = ["pen", "ink"];
    second.session.cart = ["pen", "cup"];
    second.session.theme = "dark";
    await first.session.save();
    expect(await second.session.save()).toBe("merged");
    expect(seen).toEqual([["cart", ["pen"], ["pen", "cup"], ["pen", "ink"]]]);
    expect(second.session.cart).toEqual(["pen", "ink", "cup"]);
    await client.request((session) =>
      expect({ ...session }).toMatchObject({ cart: ["pen", "ink", "cup"], theme: "dark" }),
    );
  });

  it("may remove the key by giving undefined", async () => {
    const { client } = await setUp({ onConflict: () => undefined });
    const [first, second] = [await client.arrive(), await client.arrive()];
    first.session.theme = "dark";
    second.session.theme = "blue";
    await first.session.save();
    await second.session.save();
    await client.request((session) => expect(Object.keys(session)).toEqual(["user", "cart"]));
  });

  it("that throws fails the save with its own error; nothing is stored", async () => {
    const { client, store } = await setUp({
      onConflict: () => {
        throw new RangeError("undecided");
      },
    });
    const [first, second] = [await client.arrive(), await client.arrive()];
    first.session.theme = "dark";
    second.session.theme = "blue";
    await first.session.save();
    store.forget();
    await expect(second.visit.commit()).rejects.toThrow("undecided");
    expect(store.count("write")).toBe(1);
    await client.request((session) => expect(session.theme).toBe("dark"));
  });

  it('"reject" fails the later save with a 409 that names the key, and merges other keys as ever', async () => {
    const { client } = await setUp({ onConflict: "reject" });
    const [first, second, third] = [await client.arrive(), await client.arrive(), await client.arrive()];
    first.session.theme = "dark";
    second.session.theme = "blue";
    third.session.views = 1;
    await client.leave(first);
    await expect(second.visit.commit()).rejects.toMatchObject({
      code: "ERR_SESSION_CONFLICT",
      status: 409,
      message: expect.stringContaining('session["theme"]') as string,
    });
    await client.leave(third);
    await client.request((session) => expect({ ...session }).toMatchObject({ theme: "dark", views: 1 }));
  });
});

type Requested = UserSession & Record<string, unknown>;

describe.each<[string, (session: Requested) => Promise<unknown>]>([
  ["renew()", (session) => Object.assign(session, { user: "bob" }).renew()],
  ["a save of another user's data", (session) => Object.assign(session, { user: "bob" }).save()],
  [
    "an update() that makes it another user's",
    (session) => session.update((data) => Object.assign(data, { user: "bob" })),
  ],
])("a key that another request changed beside a login by %s", (_, logIn) => {
  /** A login that has changed the cart; another request of the session has saved one of its own meanwhile. */
  async function beside(options: Partial<SessionOptions> = {}) {
    const principal = (data: Record<string, unknown>) => data["user"] as string;
    const { client, sessions } = await setUp({ store: memoryStore(), principal, ...options });
    const login = await client.arrive();
    await client.twin().request((session) => (session.cart = ["ink"]));
    login.session.cart = ["cup"];
    return { client, sessions, login, previousId: login.session.id };
  }

  it("is reported: the login's value won", async () => {
    const { client, sessions, login, previousId } = await beside();
    const events: unknown[] = [];
    for (const name of ["conflict", "merged", "renewed"] as const) {
      sessions.on(name, (event) => void events.push([name, event]));
    }
    await logIn(login.session);
    const { id } = login.session;
    expect(events).toEqual([
      ["renewed", { id, previousId }],
      ["conflict", { id, key: "cart" }],
      ["merged", { id, conflicts: ["cart"] }],
    ]);
    await client.leave(login);
    await client.request((session) => expect({ ...session }).toMatchObject({ user: "bob", cart: ["cup"] }));
  });

  it("is decided by an onConflict function", async () => {
    const { client, login } = await beside({ onConflict: (_key, _base, mine, theirs) => [theirs, mine].flat() });
    await logIn(login.session);
    expect(login.session.cart).toEqual(["ink", "cup"]);
    await client.leave(login);
    await client.request((session) => expect(session.cart).toEqual(["ink", "cup"]));
  });

  it('fails it with a 409 under "reject": the session goes on under its id, and nothing else is left behind', async () => {
    const options = { onConflict: "reject", maxSessions: { most: 1, policy: "reject" } } as const;
    const { client, sessions, login, previousId } = await beside(options);
    await expect(logIn(login.session)).rejects.toMatchObject({ code: "ERR_SESSION_CONFLICT", status: 409 });
    await expect(client.leave(login)).rejects.toMatchObject({ code: "ERR_SESSION_CONFLICT" });
    expect(login.exchange.setCookies).toEqual([]);
    expect(await sessions.list("bob")).toEqual([]);
    await client.request((session) => {
      expect([session.id, session.user, session.cart]).toEqual([previousId, "alice", ["ink"]]);
      session.user = "bob";
    });
    expect(await sessions.list("bob")).toHaveLength(1);
  });
});

describe("a save that others keep beating", () => {
  /** A store in which somebody else writes right before each of the next writes. */
  function contested(beatings: number): { store: Store; refused: () => number } {
    const inner = memoryStore();
    let isMine = true;
    let refusals = 0;
    const rival = createSessions({ secret, store: inner });
    const store: Store = {
      now: () => inner.now(),
      read: (...args) => inner.read(...args),
      async write(key, record, expected, call) {
        if (isMine && expected !== "absent" && refusals < beatings) {
          isMine = false;
          const current = await inner.read(key, call);
          if (current?.kind === "live") await inner.write(key, current, current.version, call);
          isMine = true;
        }
        const result = await inner.write(key, record, expected, call);
        if (!result.ok) refusals += 1;
        return result;
      },
      touch: (...args) => inner.touch(...args),
      remove: (...args) => inner.remove(...args),
      close: async () => rival.close(),
    };
    return { store, refused: () => refusals };
  }

  it.each(["a plain write", "an update()"])("is tried again until it wins, however often: %s", async (how) => {
    const { store, refused } = contested(60);
    const sessions = createSessions({ secret, store, storeTimeout: "1m" });
    const client = new Client(sessions, (await signIn(sessions, { user: "alice" })).cookie);
    await client.request(async (session) => {
      if (how === "a plain write") session.views = 1;
      else await session.update((data) => (data.views = 1));
    });
    expect(refused()).toBe(60);
    await client.request((session) => expect({ ...session }).toMatchObject({ user: "alice", views: 1 }));
    await sessions.close();
  });

  it("ends with storeTimeout, as a 503", async () => {
    const { store, refused } = contested(Number.POSITIVE_INFINITY);
    const sessions = createSessions({ secret, store, storeTimeout: 300 });
    const client = new Client(sessions, (await signIn(sessions, { user: "alice" })).cookie);
    const request = await client.arrive();
    request.session.views = 1;
    const start = performance.now();
    // The store's own word where the last try had less than a moment left.
    const code = expect.stringMatching(/^ERR_SESSION_STORE(_TIMEOUT)?$/);
    await expect(request.visit.commit()).rejects.toMatchObject({ status: 503, code });
    expect(performance.now() - start).toBeGreaterThan(250);
    // Many times, with pauses that grow: not in a tight loop.
    expectDone(refused(), 4, "tries");
    expect(refused()).toBeLessThan(300);
    await sessions.close();
  });
});

describe('onStoreError: "anonymous"', () => {
  it("serves a request whose load failed with a session that is not saved, and leaves the cookie alone", async () => {
    const { client, store } = await setUp({ onStoreError: "anonymous" });
    store.failing.add("read");
    store.forget();
    const exchange = await client.request(async (session) => {
      expect(session.isDegraded).toBe(true);
      expect(session.user).toBeUndefined();
      session.user = "mallory";
      expect(await session.save()).toBe("unchanged");
    });
    expect(exchange.setCookies).toEqual([]);
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read"]);
    store.failing.clear();
    await client.request((session) => {
      expect(session.isDegraded).toBe(false);
      expect(session.user).toBe("alice");
    });
  });

  it.each(["destroy", "renew", "regenerate", "reload"] as const)("still rejects %s()", async (member) => {
    const { client, store } = await setUp({ onStoreError: "anonymous" });
    store.failing.add("read");
    const request = await client.arrive();
    await expect(request.session[member]()).rejects.toMatchObject({ status: 503 });
    await expect(request.session.update(() => {})).rejects.toMatchObject({ status: 503 });
    expect(request.exchange.setCookies).toEqual([]);
  });

  it.each(["update", "reload", "touch"] as const)(
    "serves the page of an app that caught a rejected %s()",
    async (member) => {
      const { client, store } = await setUp({ onStoreError: "anonymous" });
      store.failing.add("read");
      store.forget();
      const exchange = await client.request(async (session) => {
        await (member === "update" ? session.update(() => {}) : session[member]()).catch(() => {});
        session.views = 1;
      });
      expect(exchange.setCookies).toEqual([]);
      expect(store.count("write")).toBe(0);
    },
  );

  it.each(["destroy", "renew", "regenerate"] as const)(
    "is a 503 after a %s() that failed, caught or not",
    async (member) => {
      const { client, store } = await setUp({ onStoreError: "anonymous" });
      store.failing.add("read");
      for (const isCaught of [true, false]) {
        const { session, visit } = await client.arrive();
        if (isCaught) await session[member]().catch(() => {});
        else void session[member]();
        await expect(visit.commit()).rejects.toMatchObject({ status: 503 });
      }
    },
  );

  it("does not make a failed save of a loaded session a success", async () => {
    const { client, store } = await setUp({ onStoreError: "anonymous" });
    const request = await client.arrive();
    store.failing.add("write");
    request.session.views = 1;
    await expect(request.visit.commit()).rejects.toMatchObject({ status: 503 });
  });
});

describe("maxRecordSize", () => {
  it("refuses a larger save with both sizes, and leaves the record as it was", async () => {
    const { client } = await setUp({ maxRecordSize: 2048 });
    const request = await client.arrive();
    request.session.big = "x".repeat(3000);
    await expect(request.visit.commit()).rejects.toMatchObject({
      code: "ERR_SESSION_TOO_LARGE",
      message: expect.stringMatching(/3\d\d\d bytes.*2048/) as string,
    });
    await client.request((session) => expect(session.user).toBe("alice"));
  });

  it("makes a larger record found in the store garbage", async () => {
    const { store, client } = await setUp();
    await client.request((session) => (session.big = "x".repeat(3000)));
    const small = createSessions({ secret, store, maxRecordSize: 2048 });
    const rejected: SessionEvents["rejected"][] = [];
    small.on("rejected", (event) => void rejected.push(event));
    await new Client(small, client.cookie).request((session) => expect(session.user).toBeUndefined());
    expect(rejected.map(({ reason }) => reason)).toEqual(["garbage"]);
  });
});

describe("a save in line behind one of its node, of which another node has changed the outcome before it was loaded", () => {
  /** Its theme was light, then dark on this node, then blue on the other; `late` has read blue, and stands in line. */
  async function behind(sinceMs: number, options: Partial<SessionOptions> = {}) {
    const clock = manualClock();
    const store = probeStore(memoryStore({ clock: clock.now }));
    const [here, elsewhere] = [createSessions({ secret, store, ...options }), createSessions({ secret, store })];
    const { cookie } = await signIn(here, { theme: "light" });
    const client = new Client(here, cookie);
    const [first, second, reader] = [await client.arrive(), await client.arrive(), store.hold("read")];
    first.session.theme = "dark";
    const saved = first.session.save();
    // It changes nothing, and asks the store whether that still holds: so the line stands, and remembers the first.
    const looked = second.session.update(() => {});
    await reader.reached;
    expect(await saved).toBe("saved");
    clock.advance(sinceMs);
    store.passing.read = 2;
    await new Client(elsewhere, cookie).request((session) => (session.theme = "blue"));
    const late = await client.arrive();
    expect(late.session.theme).toBe("blue");
    const save = async (theme: string) => {
      late.session.theme = theme;
      const saving = late.session.save();
      await new Promise(setImmediate);
      reader.release();
      await looked;
      return saving;
    };
    return { client, save };
  }

  it.each([
    [0, "merged"],
    [1, "saved"],
  ])("%i ms after that one, is stored where it wants the same", async (sinceMs, outcome) => {
    const { client, save } = await behind(sinceMs);
    expect(await save("dark")).toBe(outcome);
    await client.request((session) => expect(session.theme).toBe("dark"));
  });

  it('is in conflict with neither, under "reject" either', async () => {
    const { client, save } = await behind(1, { onConflict: "reject" });
    expect(await save("grey")).toBe("saved");
    await client.request((session) => expect(session.theme).toBe("grey"));
  });
});

describe("a save", () => {
  it("keeps an update() made beside the response's save, whose turn came first", async () => {
    const { store, client } = await setUp();
    const request = await client.arrive();
    const write = store.hold("write");
    request.session.views = 5;
    const committed = request.visit.commit();
    await write.reached;
    const updated = request.session.update((data) => (data.views = Number(data.views ?? 0) + 1));
    write.release();
    await committed;
    await updated;
    await request.visit.finish();
    await client.request((session) => expect(session.views).toBe(6));
  });

  it("takes a new session whose first save lost its answer for its own, and saves it again", async () => {
    const inner = memoryStore();
    let lose = true;
    const store: Store = {
      now: () => inner.now(),
      read: (...args) => inner.read(...args),
      write: async (...args) => {
        const result = await inner.write(...args);
        if (lose) {
          lose = false;
          throw new Error("read ECONNRESET");
        }
        return result;
      },
      touch: (...args) => inner.touch(...args),
      remove: (...args) => inner.remove(...args),
    };
    const client = new Client(createSessions({ secret, store }));
    const request = await client.arrive();
    request.session.user = "bob";
    await expect(request.session.save()).rejects.toMatchObject({ status: 503 });
    await client.leave(request);
    await client.request((session) => expect(session.user).toBe("bob"));
  });
});
