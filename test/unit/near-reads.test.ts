/** What the engine makes of a store that answers at once from copies, and of copies that lag behind. */
import { describe, expect, it } from "vitest";
import { createSessions, memoryStore, type SessionOptions } from "../../src/index.ts";
import type { LiveRecord, Store, StoreRecord } from "../../src/store.ts";
import { nearCache } from "../../src/stores/near-cache.ts";
import type { Era, TrackableStore, TrackedCall } from "../../src/stores/tracking.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { Client, fakeExchange } from "../support/exchange.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "the newest secret, of thirty-two characters";

/** A store before which stands what `keep()` copied; a copy goes only with a write through `near`. */
async function setUp(options: Partial<SessionOptions> = {}) {
  const inner = probeStore(memoryStore());
  const copies = new Map<string, LiveRecord>();
  const near: Store = {
    ...inner,
    peek: (key) => copies.get(key),
    read: async (key, call) => (call.fresh ? undefined : copies.get(key)) ?? inner.read(key, call),
    write: (key, record, expected, call) => {
      copies.delete(key);
      return inner.write(key, record, expected, call);
    },
  };
  const sessions = createSessions({ secret, store: near, ...options });
  /** Another node, without copies. */
  const elsewhere = createSessions({ secret, store: inner });
  const { cookie, id } = await signIn(sessions, { count: 1 });
  const keep = async (): Promise<void> => {
    const record = await inner.read(id, { deadline: performance.now() + 1_000, durable: false });
    if (record?.kind === "live") copies.set(id, record);
  };
  await keep();
  inner.forget();
  return { inner, sessions, cookie, keep, client: new Client(sessions, cookie), other: new Client(elsewhere, cookie) };
}

describe("a store that answers at once", () => {
  it("is not waited for, and not asked otherwise", async () => {
    const { inner, sessions, cookie } = await setUp();
    const visit = sessions.visit(fakeExchange(cookie));
    expect(visit.begin()).toBeUndefined();
    expect({ ...visit.session }).toEqual({ count: 1 });
    expect(visit.commit()).toBeUndefined();
    expect(inner.calls).toEqual([]);
  });

  it("is waited for while a save of this node is under way", async () => {
    const { inner, sessions, cookie, client, keep } = await setUp({ commit: "background" });
    const request = await client.arrive();
    const hold = inner.hold("write");
    request.session["count"] = 2;
    expect(request.visit.commit()).toBeUndefined();
    await hold.reached;
    await keep();
    const visit = sessions.visit(fakeExchange(cookie));
    const loading = visit.begin();
    expect(loading).toBeInstanceOf(Promise);
    hold.release();
    await loading;
  });

  it("gives each request data of its own", async () => {
    const { client } = await setUp();
    const [one, two] = await Promise.all([client.arrive(), client.arrive()]);
    one.session["count"] = 5;
    expect(two.session["count"]).toBe(1);
  });
});

describe("a copy that lags behind", () => {
  it("is not what a watch is decided by", async () => {
    const { sessions, client, other } = await setUp();
    const { id } = (await client.arrive()).session;
    await other.request((session) => session.destroy());
    const reason = await new Promise((resolve) => {
      sessions.watch(id, resolve);
    });
    expect(reason).toBe("logout");
  });

  it("costs a refused write and a merge, and no data", async () => {
    const { inner, client, other } = await setUp();
    await other.request((session) => {
      session["theirs"] = true;
    });
    inner.forget();
    await client.request((session) => {
      expect(session["theirs"]).toBeUndefined();
      session["ours"] = true;
    });
    expect(inner.count("write")).toBe(2);
    await other.request((session) => expect({ ...session }).toEqual({ count: 1, theirs: true, ours: true }));
  });

  it("decides nothing: update() that finds nothing to do in it looks at the newest data", async () => {
    const { client, other } = await setUp();
    await other.request((session) => {
      session["count"] = 2;
    });
    await client.request(async (session) => {
      const seen = await session.update((data) => {
        const { count } = data as { count: number };
        if (count > 1) (data as Record<string, unknown>)["isSeen"] = true;
        return count;
      });
      expect(seen).toBe(2);
    });
    await other.request((session) => expect({ ...session }).toEqual({ count: 2, isSeen: true }));
  });

  it("is not what reload() gives", async () => {
    const { client, other } = await setUp();
    await other.request((session) => {
      session["count"] = 2;
    });
    await client.request(async (session) => {
      expect(session["count"]).toBe(1);
      await session.reload();
      expect(session["count"]).toBe(2);
    });
  });

  it("of a session that was ended elsewhere revives nothing", async () => {
    const { client, other } = await setUp();
    await other.request((session) => session.destroy());
    await client.request(async (session) => {
      session["late"] = true;
      expect(await session.save()).toBe("gone");
    });
    await other.request((session) => expect(session.isNew).toBe(true));
  });
});

describe("a near cache that bridges an outage", () => {
  it("does so for the shard that is out of reach, and asks the others", async () => {
    const down = new Set<string>();
    let era: Era | undefined = { trustedUntil: Number.POSITIVE_INFINITY, confirmedAt: 0, isFlushed: false };
    const asked: string[] = [];
    const tracked = {
      ...memoryStore(),
      now: () => Date.now(),
      shardOf: (key: string) => key.charAt(0),
      eraOf: () => era,
      track: () => tracked,
      close: async () => {},
      read: async (key: string, call: TrackedCall): Promise<StoreRecord> => {
        asked.push(key);
        if (down.has(key.charAt(0))) throw new Error("no answer");
        call.onSent?.(era);
        const stamps = { createdAt: 1, touchedAt: 1, expiresAt: Date.now() + 60_000, absoluteExpiresAt: null };
        return { kind: "live", version: "1", ...stamps, payload: Buffer.from("{}") };
      },
    };
    const near = nearCache(tracked as TrackableStore, { maxStaleOnError: "1h" });
    const call = () => ({ deadline: performance.now() + 5_000, durable: false });
    for (const key of ["a", "b"]) await near.read(key, call());
    expect([near.peek?.("a"), near.peek?.("b")]).toMatchObject([{ kind: "live" }, { kind: "live" }]);
    // Tracking is lost everywhere, Redis with one shard of two.
    era.trustedUntil = 0;
    era = undefined;
    down.add("a");
    expect(await near.read("a", call())).toMatchObject({ kind: "live" });
    expect(near.peek?.("a")).toMatchObject({ kind: "live" });
    expect(near.peek?.("b")).toBeUndefined();
    asked.length = 0;
    await near.read("b", call());
    expect(asked).toEqual(["b"]);
  });
});
