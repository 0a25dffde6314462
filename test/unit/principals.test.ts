/** Whose session it is: lists, revocation, limits, and the new id that comes with another user. On the memory store. */
import { describe, expect, it, vi } from "vitest";
import { createSessions, memoryStore, type SessionOptions, type Sessions, type Store } from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { Client } from "../support/exchange.ts";
import { heard } from "../support/heard.ts";

const secret = "the newest secret, of thirty-two characters";

function setUp(options: Partial<SessionOptions> = {}) {
  const clock = manualClock();
  const store = memoryStore({ clock: () => clock.now() });
  const principal = (data: Record<string, unknown>) => data["userId"] as string | undefined;
  const sessions = createSessions({ secret, store, principal, ...options });
  return { clock, store, sessions };
}

async function logIn(sessions: Sessions, userId: string | number): Promise<Client> {
  const client = new Client(sessions);
  await client.request((session) => Object.assign(session, { userId }));
  return client;
}

async function idOf(client: Client): Promise<string> {
  let id = "";
  await client.request((session) => {
    id = session.id;
  });
  return id;
}

async function userOf(client: Client): Promise<unknown> {
  let userId: unknown;
  await client.request((session) => {
    userId = session["userId"];
  });
  return userId;
}

const ids = async (sessions: Sessions, user: string): Promise<string[]> =>
  (await sessions.list(user)).map(({ id }) => id).sort();

describe("list()", () => {
  it("[ASVS5 7.5.2] [CS simultaneous logons] names the user's sessions alone, the last seen first, with their times", async () => {
    const { sessions, clock } = setUp({ ttl: "1h", absoluteTimeout: "1d" });
    const first = await logIn(sessions, "ada");
    const createdAt = clock.now();
    clock.advance(600_000);
    const second = await logIn(sessions, "ada");
    await logIn(sessions, "bob");
    expect(await sessions.list("ada", { current: await idOf(second) })).toEqual([
      {
        id: await idOf(second),
        createdAt: clock.now(),
        lastSeenAt: clock.now(),
        expiresAt: clock.now() + 3_600_000,
        absoluteExpiresAt: clock.now() + 86_400_000,
        isCurrent: true,
        meta: undefined,
      },
      {
        id: await idOf(first),
        createdAt,
        lastSeenAt: createdAt,
        expiresAt: createdAt + 3_600_000,
        absoluteExpiresAt: createdAt + 86_400_000,
        isCurrent: false,
        meta: undefined,
      },
    ]);
    expect(await sessions.list("nobody")).toEqual([]);
  });

  it("shows what describe said of the request that began the session, and of the login that renewed it", async () => {
    let agent = "first";
    const { sessions } = setUp({ describe: () => ({ agent }) });
    const client = await logIn(sessions, "ada");
    agent = "second";
    await client.request((session) => Object.assign(session, { views: 1 }));
    expect((await sessions.list("ada")).map(({ meta }) => meta)).toEqual([{ agent: "first" }]);
    await client.request((session) => session.renew());
    expect((await sessions.list("ada")).map(({ meta }) => meta)).toEqual([{ agent: "second" }]);
  });

  it("knows a number as the text that it is, and refuses nobody", async () => {
    const { sessions } = setUp();
    await logIn(sessions, 42);
    expect(await sessions.list("42")).toHaveLength(1);
    expect(await sessions.list(42)).toHaveLength(1);
    await expect(sessions.list("")).rejects.toMatchObject({ code: "ERR_SESSION_PRINCIPAL" });
  });

  it("forgets a session that logs out, is regenerated, or expires", async () => {
    const { sessions, clock } = setUp({ ttl: "1h", absoluteTimeout: null });
    const [a, b, c] = [await logIn(sessions, "ada"), await logIn(sessions, "ada"), await logIn(sessions, "ada")];
    await a.request((session) => session.destroy());
    expect(await ids(sessions, "ada")).toEqual([await idOf(b), await idOf(c)].sort());
    await b.request((session) => session.regenerate());
    expect(await ids(sessions, "ada")).toEqual([await idOf(c)]);
    clock.advance(3_600_000);
    expect(await ids(sessions, "ada")).toEqual([]);
  });

  it("finds a session that renews its id under the new one alone", async () => {
    const { sessions } = setUp();
    const client = await logIn(sessions, "ada");
    const before = await idOf(client);
    await client.request((session) => session.renew());
    expect(await idOf(client)).not.toBe(before);
    expect(await ids(sessions, "ada")).toEqual([await idOf(client)]);
  });

  it("finds a session that a timed rotation moved under the new id alone", async () => {
    const { sessions, clock } = setUp({ ttl: "1h", renewalTimeout: "10m" });
    const client = await logIn(sessions, "ada");
    const before = await idOf(client);
    clock.advance(600_000);
    await idOf(client);
    const after = await idOf(client);
    expect(after).not.toBe(before);
    expect(await ids(sessions, "ada")).toEqual([after]);
  });

  it("still names a session without an absolute deadline that is touched for longer than its idle time", async () => {
    const { sessions, clock } = setUp({ ttl: "1h", absoluteTimeout: null });
    const client = await logIn(sessions, "ada");
    for (let hour = 0; hour < 5; hour++) {
      clock.advance(3_000_000);
      await idOf(client);
      expect(await ids(sessions, "ada")).toEqual([await idOf(client)]);
    }
  });

  it("names a session from before the option, from its first request on, under the id that it has", async () => {
    const { store, sessions } = setUp();
    const before = createSessions({ secret, store });
    const client = await logIn(before, "ada");
    const id = await idOf(client);
    expect(await sessions.list("ada")).toEqual([]);
    client.cookie = String(client.cookie);
    const later = new Client(sessions, client.cookie);
    await later.request((session) => expect(session["userId"]).toBe("ada"));
    expect(await ids(sessions, "ada")).toEqual([id]);
  });
});

describe("destroy(id, { principal })", () => {
  it("[ASVS5 7.5.2] ends a session of that user, and leaves another's alone", async () => {
    const { sessions } = setUp();
    const ada = await logIn(sessions, "ada");
    const id = await idOf(ada);
    const destroyed = heard(sessions, "destroyed");
    expect(await sessions.destroy(id, { principal: "bob" })).toBe(false);
    expect(await userOf(ada)).toBe("ada");
    expect(destroyed).toEqual([]);
    expect(await sessions.destroy(id, { principal: "ada" })).toBe(true);
    expect(await userOf(ada)).toBeUndefined();
    expect(destroyed).toEqual([{ id, reason: "revoked" }]);
    expect(await sessions.destroy(id, { principal: "ada" })).toBe(false);
    expect(await sessions.list("ada")).toEqual([]);
  });

  it("ends a session by the id that a list gave before a timed rotation", async () => {
    const { sessions, clock } = setUp({ ttl: "1h", renewalTimeout: "10m" });
    const client = await logIn(sessions, "ada");
    const listed = await ids(sessions, "ada");
    clock.advance(600_000);
    await idOf(client);
    expect(await sessions.destroy(String(listed[0]), { principal: "ada" })).toBe(true);
    expect(await userOf(client)).toBeUndefined();
    expect(await sessions.list("ada")).toEqual([]);
  });
});

describe("destroyAll()", () => {
  it("[ASVS5 7.4.2] ends all sessions of the user, those of others not", async () => {
    const { sessions } = setUp();
    const mine = [await logIn(sessions, "ada"), await logIn(sessions, "ada"), await logIn(sessions, "ada")];
    const bob = await logIn(sessions, "bob");
    expect(await sessions.destroyAll("ada")).toBe(3);
    for (const client of mine) expect(await userOf(client)).toBeUndefined();
    expect(await userOf(bob)).toBe("bob");
    expect(await sessions.list("ada")).toEqual([]);
    expect(await sessions.destroyAll("ada")).toBe(0);
  });

  it("[ASVS5 7.4.3] spares the session that is given, also while it renews its id", async () => {
    const { sessions } = setUp();
    const [here, there] = [await logIn(sessions, "ada"), await logIn(sessions, "ada")];
    await here.request(async (session) => {
      const [ended] = await Promise.all([sessions.destroyAll("ada", { except: session }), session.renew()]);
      expect(ended).toBe(1);
    });
    expect(await userOf(here)).toBe("ada");
    expect(await userOf(there)).toBeUndefined();
    expect(await ids(sessions, "ada")).toEqual([await idOf(here)]);
  });

  it("ends a session that its own request is about to save", async () => {
    const { sessions } = setUp();
    const client = await logIn(sessions, "ada");
    const request = await client.arrive();
    request.session["late"] = true;
    await sessions.destroyAll("ada");
    await client.leave(request);
    expect(await userOf(client)).toBeUndefined();
  });

  it("lets the user log in again afterwards, in the same request too", async () => {
    const { sessions } = setUp();
    const client = await logIn(sessions, "ada");
    await client.request(async (session) => {
      await sessions.destroyAll("ada");
      await session.regenerate();
    });
    await client.request((session) => Object.assign(session, { userId: "ada" }));
    expect(await userOf(client)).toBe("ada");
    expect(await sessions.list("ada")).toHaveLength(1);
  });
});

describe("a change of the principal", () => {
  it("gives the session a new id by itself, from nobody to a user, to another and to nobody", async () => {
    const { sessions } = setUp();
    const client = new Client(sessions);
    await client.request((session) => Object.assign(session, { cart: ["pen"] }));
    const seen = [await idOf(client)];
    for (const userId of ["ada", "bob", undefined]) {
      const stolen = client.twin();
      await client.request((session) => Object.assign(session, { userId }));
      const id = await idOf(client);
      expect(seen).not.toContain(id);
      seen.push(id);
      expect(await userOf(client)).toBe(userId);
      await stolen.request((session) => expect({ ...session }).toEqual({}));
      await client.request((session) => expect(session["cart"]).toEqual(["pen"]));
    }
    expect(await sessions.list("ada")).toEqual([]);
    expect(await sessions.list("bob")).toEqual([]);
  });

  it("gives it a new id in update() too, before the other user's data are stored", async () => {
    const { sessions } = setUp();
    const client = new Client(sessions);
    await client.request((session) => Object.assign(session, { cart: ["pen"] }));
    const before = await idOf(client);
    const stolen = client.twin();
    await client.request((session) => session.update((data) => Object.assign(data, { userId: "ada" })));
    expect(await idOf(client)).not.toBe(before);
    expect(await userOf(client)).toBe("ada");
    await stolen.request((session) => expect({ ...session }).toEqual({}));
    expect(await ids(sessions, "ada")).toEqual([await idOf(client)]);
  });

  it("needs no option: session.principal says it as well", async () => {
    const { store } = setUp();
    const sessions = createSessions({ secret, store });
    const client = new Client(sessions);
    await client.request((session) => Object.assign(session, { cart: ["pen"] }));
    const before = await idOf(client);
    await client.request((session) => {
      session.principal = 7;
      expect(session.principal).toBe("7");
    });
    expect(await idOf(client)).not.toBe(before);
    await client.request((session) => expect(session.principal).toBe("7"));
    expect(await ids(sessions, "7")).toEqual([await idOf(client)]);
    await client.request((session) => {
      session.principal = null;
    });
    expect(await sessions.list("7")).toEqual([]);
    await client.request((session) => expect({ ...session }).toEqual({ cart: ["pen"] }));
  });

  it("is a login where it names somebody, and none where it makes the session nobody's", async () => {
    const { sessions } = setUp();
    const client = new Client(sessions);
    await client.request((session) => Object.assign(session, { cart: ["pen"] }));
    for (const userId of ["ada", "bob"]) {
      await client.request((session) => Object.assign(session, { userId }));
      await client.request((session) => expect(session.authenticatedAt).toBeTypeOf("number"));
    }
    const twin = await logIn(sessions, "eve");
    await twin.request((session) => session.renew());
    await client.request((session) => Object.assign(session, { userId: undefined }));
    await client.request((session) => expect(session.authenticatedAt).toBeNull());
    await twin.request((session) => session.update((data) => void delete data["userId"]));
    await twin.request((session) => expect(session.authenticatedAt).toBeNull());
  });

  it("is written as what belongs to a login is: durably", async () => {
    const { sessions, store } = setUp();
    const writes: boolean[] = [];
    const { write } = store;
    store.write = (key, record, expected, call) => {
      writes.push(call.durable);
      return write.call(store, key, record, expected, call);
    };
    const client = await logIn(sessions, "ada");
    await client.request((session) => Object.assign(session, { views: 1 }));
    expect(writes).toEqual([true, false]);
  });

  it("can't be said against the option, or as something that is no name", async () => {
    const { sessions, store } = setUp();
    const code = { code: "ERR_SESSION_PRINCIPAL" };
    const { session } = await new Client(sessions).arrive();
    expect(() => Object.assign(session, { principal: "ada" })).toThrow(expect.objectContaining(code) as Error);
    const free = createSessions({ secret, store });
    for (const wrong of ["", "x".repeat(513), {}, true]) {
      const request = await new Client(free).arrive();
      expect(() => Object.assign(request.session, { principal: wrong })).toThrow(
        expect.objectContaining(code) as Error,
      );
    }
    const odd = createSessions({ secret, store, principal: () => ({}) as string });
    const request = await new Client(odd).arrive();
    request.session["a"] = 1;
    await expect(request.visit.commit()).rejects.toMatchObject(code);
  });
});

describe("maxSessions", () => {
  it("[ASVS5 7.1.2] [CS simultaneous logons] ends the oldest for the newest, and tells it as evicted", async () => {
    const { sessions, clock } = setUp({ maxSessions: 2 });
    const destroyed = heard(sessions, "destroyed");
    const first = await logIn(sessions, "ada");
    const id = await idOf(first);
    clock.advance(1000);
    const second = await logIn(sessions, "ada");
    clock.advance(1000);
    const third = await logIn(sessions, "ada");
    await logIn(sessions, "bob");
    expect(destroyed).toEqual([{ id, reason: "evicted" }]);
    expect(await userOf(first)).toBeUndefined();
    expect(await ids(sessions, "ada")).toEqual([await idOf(second), await idOf(third)].sort());
  });

  it("[ASVS5 7.1.2] refuses the newest with 409 where the policy says so, and nothing of it is stored", async () => {
    const { sessions } = setUp({ maxSessions: { most: 1, policy: "reject" } });
    const first = await logIn(sessions, "ada");
    await expect(logIn(sessions, "ada")).rejects.toMatchObject({ code: "ERR_SESSION_LIMIT", status: 409 });
    expect(await ids(sessions, "ada")).toEqual([await idOf(first)]);
    await first.request((session) => session.destroy());
    await logIn(sessions, "ada");
  });

  it("leaves an anonymous session as it was where its login is refused", async () => {
    const { sessions } = setUp({ maxSessions: { most: 1, policy: "reject" } });
    await logIn(sessions, "ada");
    const client = new Client(sessions);
    await client.request((session) => Object.assign(session, { cart: ["pen"] }));
    await expect(client.request((session) => Object.assign(session, { userId: "ada" }))).rejects.toMatchObject({
      code: "ERR_SESSION_LIMIT",
    });
    await client.request((session) => expect({ ...session }).toEqual({ cart: ["pen"] }));
  });

  it("asks a policy of the app's own, and refuses where that ends nobody", async () => {
    let answer: "first" | "none" = "first";
    const { sessions, clock } = setUp({
      describe: () => ({ at: String(clock.now()) }),
      maxSessions: {
        most: 2,
        policy: async (list) => (answer === "first" ? [String(list.at(-1)?.id)] : []),
      },
    });
    const first = await logIn(sessions, "ada");
    clock.advance(1000);
    const second = await logIn(sessions, "ada");
    clock.advance(1000);
    const third = await logIn(sessions, "ada");
    expect(await userOf(second)).toBeUndefined();
    expect(await ids(sessions, "ada")).toEqual([await idOf(first), await idOf(third)].sort());
    answer = "none";
    await expect(logIn(sessions, "ada")).rejects.toMatchObject({ code: "ERR_SESSION_LIMIT" });
  });

  it("counts neither what expired nor what its own renewal replaces", async () => {
    const { sessions, clock } = setUp({ ttl: "1h", maxSessions: { most: 1, policy: "reject" } });
    await logIn(sessions, "ada");
    clock.advance(3_600_000);
    const client = await logIn(sessions, "ada");
    for (let login = 0; login < 3; login++) await client.request((session) => session.renew());
    expect(await ids(sessions, "ada")).toEqual([await idOf(client)]);
  });
});

describe("the index", () => {
  it("does not grow with logins that nobody lists", async () => {
    const { sessions, clock, store } = setUp({ ttl: "1m", absoluteTimeout: "30d" });
    for (let login = 0; login < 200; login++) {
      await logIn(sessions, "ada");
      clock.advance(30_000);
    }
    const { ownerOf } = await import("../../src/principals.ts");
    const call = { deadline: performance.now() + 1000, durable: false };
    const names = await store.principals.list(ownerOf("ada"), call);
    expect(names.length).toBeLessThan(60);
    expect(await sessions.list("ada")).toHaveLength(1);
    expect((await store.principals.list(ownerOf("ada"), call)).length).toBe(1);
  });

  it("that fails to confirm a session which begins fails that try alone: the next one stores it anew, under its id", async () => {
    const { sessions, store } = setUp({ onConflict: "reject" });
    const told = (["created", "merged", "conflict"] as const).map((name) => heard(sessions, name));
    vi.spyOn(store.principals, "confirm").mockRejectedValueOnce(new Error("read ECONNRESET"));
    const client = new Client(sessions);
    const request = await client.arrive();
    Object.assign(request.session, { userId: "ada", step: 1, draft: "yes" });
    await expect(request.session.save()).rejects.toMatchObject({ code: "ERR_SESSION_STORE", status: 503 });
    Object.assign(request.session, { step: 2, draft: undefined });
    await client.leave(request);
    expect(await ids(sessions, "ada")).toEqual([request.session.id]);
    expect(told.map(({ length }) => length)).toEqual([1, 0, 0]);
    await client.request((session) => expect({ ...session }).toEqual({ userId: "ada", step: 2 }));
  });

  it("that fails to confirm a session which an update() begins has it counted once by the next one", async () => {
    const { sessions, store } = setUp();
    vi.spyOn(store.principals, "confirm").mockRejectedValueOnce(new Error("read ECONNRESET"));
    const client = new Client(sessions);
    await client.request(async (session) => {
      const logIn = () =>
        session.update((data) => Object.assign(data, { userId: "ada", logins: Number(data["logins"] ?? 0) + 1 }));
      await expect(logIn()).rejects.toMatchObject({ code: "ERR_SESSION_STORE", status: 503 });
      await logIn();
    });
    expect(await ids(sessions, "ada")).toEqual([await idOf(client)]);
    await client.request((session) => expect({ ...session }).toEqual({ userId: "ada", logins: 1 }));
  });

  it("keeps the name of a session that was given longer timeouts for as long as that lives", async () => {
    const { sessions, clock } = setUp({ ttl: "1h", touchInterval: "10m", absoluteTimeout: "2h" });
    const client = await logIn(sessions, "ada");
    clock.advance(1000);
    await client.request((session) => session.expire({ idle: "10d", absolute: "30d" }));
    clock.advance(9 * 86_400_000);
    expect(await ids(sessions, "ada")).toEqual([await idOf(client)]);
    expect(await sessions.destroyAll("ada")).toBe(1);
    expect(await userOf(client)).toBeUndefined();
  });

  it("keeps the name of a session without an absolute deadline until its last moment, whatever was saved when", async () => {
    const { sessions, clock } = setUp({ ttl: "1d", touchInterval: "2h", absoluteTimeout: null });
    const client = await logIn(sessions, "ada");
    clock.advance(3_000_000);
    await client.request((session) => Object.assign(session, { views: 1 }));
    clock.advance(86_400_000 - 1000);
    expect(await sessions.destroyAll("ada")).toBe(1);
    expect(await userOf(client)).toBeUndefined();
  });

  it("is not asked by an app that uses no principals", async () => {
    const { store } = setUp();
    const calls: string[] = [];
    const watched = new Proxy(store.principals, {
      get: (target, verb) => {
        calls.push(String(verb));
        return Reflect.get(target, verb);
      },
    });
    const verbs: Store = {
      read: (...args) => store.read(...args),
      write: (...args) => store.write(...args),
      touch: (...args) => store.touch(...args),
      remove: (...args) => store.remove(...args),
      now: () => store.now(),
    };
    const plain = createSessions({ secret, store: { ...verbs, ...{ principals: watched } } });
    const client = await logIn(plain, "ada");
    await client.request((session) => session.renew());
    await client.request((session) => session.destroy());
    expect(calls).toEqual([]);
  });
});
