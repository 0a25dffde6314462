/** What the engine makes of a store that answers at once from copies, and of copies that lag behind. */
import { describe, expect, it } from "vitest";
import { createSessions, memoryStore, type SessionOptions } from "../../src/index.ts";
import type { LiveRecord, Store } from "../../src/store.ts";
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
