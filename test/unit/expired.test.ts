/** `expired`: of whom it is told, and what a listener or a store that fails does to it. On the memory store and a fake clock. */
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { ExpiryIndex } from "../../src/expiry-index.ts";
import { createSessions, memoryStore, type SessionOptions, type Sessions, type Store } from "../../src/index.ts";
import { Client } from "../support/exchange.ts";
import { heard, logIn } from "../support/heard.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "a secret of the tests of expired, 32 characters";
const second = 1_000;
const never = new Promise<void>(() => {});

beforeEach(() => {
  vi.useFakeTimers({
    toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"],
  });
  vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  return () => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  };
});

const pass = (seconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(seconds * second);

/** A store that can be disturbed, its expiry index too, and engines on it. */
function setUp(options: Partial<SessionOptions> = {}) {
  const memory = memoryStore();
  const failing = new Set<"cancel" | "schedule">();
  const guarded =
    <A extends unknown[]>(verb: "cancel" | "schedule", call: (...args: A) => Promise<void>) =>
    async (...args: A): Promise<void> => {
      if (failing.has(verb)) throw new Error("connect ECONNREFUSED");
      await call(...args);
    };
  const { expiries: inner } = memory;
  /** What another node does at the moment of the next note. */
  const meanwhile: { run?: (() => Promise<unknown>) | undefined } = {};
  const expiries: ExpiryIndex = {
    shards: inner.shards,
    schedule: guarded("schedule", async (id, at, call) => {
      const { run } = meanwhile;
      meanwhile.run = undefined;
      await run?.();
      await inner.schedule(id, at, call);
    }),
    cancel: guarded("cancel", inner.cancel.bind(inner)),
    claim: inner.claim.bind(inner),
    settle: inner.settle.bind(inner),
  };
  const store = Object.assign(probeStore(memory), { expiries, principals: memory.principals });
  const principal = (data: Record<string, unknown>) => data["userId"] as string | undefined;
  const engine = (own: Store = store): Sessions => {
    const sessions = createSessions({ secret, store: own, principal, expiredEvents: true, ttl: "1m", ...options });
    onTestFinished(() => sessions.close({ timeout: 0 }));
    return sessions;
  };
  return { memory, store, failing, meanwhile, engine };
}

describe("a listener of expired that never settles", () => {
  it("is given up after a minute, reported, and another node is told", async () => {
    const { engine } = setUp();
    const [stuck, other] = [engine(), engine()];
    let calls = 0;
    stuck.on("expired", () => {
      calls++;
      return never;
    });
    const { id } = await logIn(stuck);
    await pass(66);
    expect(calls).toBe(1);
    const events = heard(other, "expired");
    // The lease is kept for as long as the listener is waited for: one node at a time.
    await pass(50);
    expect(events).toEqual([]);
    await pass(60);
    expect(events).toEqual([{ id }]);
    expect(calls).toBe(1);
    expect(process.emitWarning).toHaveBeenCalledExactlyOnceWith(
      expect.stringContaining('"expired" failed'),
      expect.objectContaining({ code: "HOLDFAST_LISTENER" }),
    );
  });

  it("keeps its node from looking for others no longer than that", async () => {
    const { engine } = setUp();
    const sessions = engine();
    const first = await logIn(sessions);
    const told: string[] = [];
    sessions.on("expired", ({ id }) => {
      told.push(id);
      return id === first.id ? never : undefined;
    });
    await pass(66);
    const second = await logIn(sessions);
    await pass(180);
    expect(told).toContain(second.id);
  });

  it("holds up close() for its timeout at most; then its lease lapses, and another node is told", async () => {
    const { engine, memory } = setUp();
    const [stuck, other] = [engine(memory), engine(memory)];
    stuck.on("expired", () => never);
    const { id } = await logIn(stuck);
    await pass(66);
    let isClosed = false;
    void stuck.close({ timeout: "5s" }).then(() => {
      isClosed = true;
    });
    await pass(4);
    expect(isClosed).toBe(false);
    await pass(2);
    expect(isClosed).toBe(true);
    const events = heard(other, "expired");
    await pass(45);
    expect(events).toEqual([{ id }]);
  });
});

describe("expired is not told", () => {
  it("of a login that was refused, for the limit or a revocation", async () => {
    const { engine } = setUp({ maxSessions: { most: 1, policy: "reject" } });
    const sessions = engine();
    const events = heard(sessions, "expired");
    const { id } = await logIn(sessions);
    await expect(logIn(sessions)).rejects.toMatchObject({ code: "ERR_SESSION_LIMIT" });
    await pass(200);
    expect(events).toEqual([{ id }]);
  });

  it("of a login that began before all of its user's sessions were ended", async () => {
    const { engine, meanwhile } = setUp();
    const sessions = engine();
    const events = heard(sessions, "expired");
    meanwhile.run = async () => {
      vi.advanceTimersByTime(1);
      await sessions.destroyAll("ada");
    };
    await expect(logIn(sessions)).rejects.toMatchObject({ code: "ERR_SESSION_GONE" });
    await pass(200);
    expect(events).toEqual([]);
  });

  it.each(["failed", "was lost"])("of a session whose first write %s, whom nobody was given", async (how) => {
    const { engine, store } = setUp();
    const sessions = engine();
    const events = heard(sessions, "expired");
    store[how === "failed" ? "failing" : "losing"].add("write");
    await expect(logIn(sessions)).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });
    await pass(200);
    expect(events).toEqual([]);
  });

  it("of the new id of a login that failed, and is of the session that went on", async () => {
    const { engine, store } = setUp({ maxSessions: { most: 1, policy: "reject" } });
    const sessions = engine();
    const events = heard(sessions, "expired");
    const { client, id } = await logIn(sessions);
    const other = await logIn(sessions, "bob");
    const request = await client.arrive();
    request.session["userId"] = "bob";
    await expect(request.session.renew()).rejects.toMatchObject({ code: "ERR_SESSION_LIMIT" });
    store.failing.add("write");
    await expect(client.request((session) => session.renew())).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });
    store.failing.clear();
    await pass(200);
    expect(events.map((event) => event.id).sort()).toEqual([id, other.id].sort());
  });

  it("of the ids that the losers of a timed rotation had made, and is of the winner's, once", async () => {
    const { engine, store } = setUp({ renewalTimeout: "30s", renewalGrace: "5s" });
    const sessions = engine();
    const events = heard(sessions, "expired");
    const renewed = heard(sessions, "renewed");
    const { client } = await logIn(sessions);
    await pass(40);
    await Promise.all(Array.from({ length: 4 }, () => client.twin().request((session) => session["userId"])));
    expect(store.count("remove")).toBeGreaterThan(0);
    await pass(300);
    expect(renewed).toHaveLength(1);
    expect(events).toEqual([{ id: renewed[0]?.id }]);
  });

  it("of an id that a login retired while a timed rotation came in between", async () => {
    const { engine } = setUp({ renewalTimeout: "30s" });
    const sessions = engine();
    const events = heard(sessions, "expired");
    const { client } = await logIn(sessions);
    const slow = await client.arrive();
    await pass(40);
    await client.twin().request((session) => session["userId"]);
    await slow.session.renew();
    const { id } = slow.session;
    await client.leave(slow);
    await pass(300);
    expect(events).toEqual([{ id }]);
  });

  it("of a session that was logged out while its note could not be taken back", async () => {
    const { engine, failing } = setUp({ ttl: "10m" });
    const sessions = engine();
    const events = heard(sessions, "expired");
    const clients = [await logIn(sessions), await logIn(sessions, "bob")];
    failing.add("cancel");
    for (const { client } of clients) await client.request((session) => session.destroy());
    await pass(10);
    failing.clear();
    await pass(700);
    expect(events).toEqual([]);
  });

  it("of a session that ended while a save was to shorten its life", async () => {
    const { engine, meanwhile } = setUp({ ttl: "10m" });
    const sessions = engine();
    const events = heard(sessions, "expired");
    const { client } = await logIn(sessions);
    const slow = await client.arrive();
    slow.session.expire({ idle: "5m" });
    meanwhile.run = () => sessions.destroyAll("ada");
    expect(await slow.session.save()).toBe("gone");
    await client.leave(slow);
    await pass(700);
    expect(events).toEqual([]);
  });
});

describe("expired is told", () => {
  it("of a session whose first write was lost and which its request saved again", async () => {
    const { engine, store } = setUp();
    const sessions = engine();
    const events = heard(sessions, "expired");
    const client = new Client(sessions);
    let id = "";
    await client.request(async (session) => {
      Object.assign(session, { userId: "ada" });
      id = session.id;
      store.losing.add("write");
      await expect(session.save()).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });
      store.losing.clear();
    });
    expect(client.cookie).toBeDefined();
    await pass(200);
    expect(events).toEqual([{ id }]);
  });

  it("of a session whose last save failed", async () => {
    const { engine, store } = setUp();
    const sessions = engine();
    const events = heard(sessions, "expired");
    const { client, id } = await logIn(sessions);
    store.failing.add("write");
    await expect(client.request((session) => session.expire({ idle: "30s" }))).rejects.toMatchObject({
      code: "ERR_SESSION_STORE",
    });
    store.failing.clear();
    await pass(200);
    expect(events).toEqual([{ id }]);
  });
});

describe("a store that fails while expired is told", () => {
  it("is reported as storeError, keeps nobody from the other sessions, and is asked again after the lease", async () => {
    const { engine, store } = setUp();
    let bad: string | undefined;
    const refuse = () => Promise.reject(new Error("connect ECONNREFUSED"));
    const picky: Store = { ...store, read: (id, call) => (id === bad ? refuse() : store.read(id, call)) };
    const sessions = engine(picky);
    const events = heard(sessions, "expired");
    const errors = heard(sessions, "storeError");
    const lost = await logIn(sessions);
    const others: string[] = [];
    // More than are taken at once.
    for (let count = 0; count < 120; count++) others.push((await logIn(sessions, `user ${count}`)).id);
    bad = lost.id;
    await pass(67);
    expect(events.map(({ id }) => id).sort()).toEqual(others.sort());
    expect(errors).toEqual([
      expect.objectContaining({
        operation: "read",
        id: lost.id,
        error: expect.objectContaining({ code: "ERR_SESSION_STORE" }),
      }),
    ]);
    bad = undefined;
    await pass(35);
    expect(events.at(-1)).toEqual({ id: lost.id });
  });
});
