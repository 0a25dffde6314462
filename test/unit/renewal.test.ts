import { describe, expect, it } from "vitest";
import { createSessions, memoryStore, type SessionEvents, type SessionOptions } from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { Client } from "../support/exchange.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "the newest secret, of thirty-two characters";
const minute = 60_000;
const hour = 60 * minute;

async function setUp(options: Partial<SessionOptions> = {}) {
  const clock = manualClock();
  const store = probeStore(memoryStore({ clock: () => clock.now() }));
  const all = { secret, store, ttl: "1d", renewalTimeout: "1h", ...options } as const;
  const sessions = createSessions(all);
  const { cookie, id } = await signIn(sessions, { user: "alice" });
  const renewed: SessionEvents["renewed"][] = [];
  sessions.on("renewed", (event) => void renewed.push(event));
  const oldId = id;
  return { clock, store, sessions, oldId, renewed, cookie, all, client: new Client(sessions, cookie) };
}

describe("timed rotation (OWASP: renewal timeout)", () => {
  it("gives a live session a new id when it is due, with the same data and the same absolute deadline", async () => {
    const { clock, client, cookie, renewed, oldId } = await setUp();
    let absolute: number | null = 0;
    await client.request((session) => {
      absolute = session.absoluteExpiresAt;
    });
    expect(client.cookie).toBe(cookie);
    clock.advance(hour);
    const exchange = await client.request((session) => expect(session.user).toBe("alice"));
    expect(exchange.setCookies).toHaveLength(1);
    expect(client.cookie).not.toBe(cookie);
    expect(renewed).toEqual([{ id: expect.not.stringContaining(oldId) as string, previousId: oldId }]);
    await client.request((session) => {
      expect(session.user).toBe("alice");
      expect(session.id).toBe(renewed[0]?.id);
      expect(session.absoluteExpiresAt).toBe(absolute);
    });
    clock.advance(hour - 1);
    expect((await client.request(() => {})).setCookies).toEqual([]);
    clock.advance(1);
    expect((await client.request(() => {})).setCookies).toHaveLength(1);
  });

  it("happens on requests that never look at the session, and together with a save", async () => {
    const { clock, client, sessions, cookie } = await setUp();
    clock.advance(hour);
    const { exchange } = await client.arrive();
    const visit = sessions.visit(exchange);
    await visit.begin();
    await visit.commit();
    expect(exchange.setCookies).toHaveLength(1);
    client.keep(exchange);
    clock.advance(hour);
    await client.request((session) => (session.views = 1));
    expect(client.cookie).not.toBe(cookie);
    await client.request((session) => expect({ ...session }).toEqual({ user: "alice", views: 1 }));
  });

  it("rotates once for parallel requests that all find it due; all end on the same session", async () => {
    const { clock, client, renewed } = await setUp();
    clock.advance(hour);
    const requests = await Promise.all(Array.from({ length: 10 }, () => client.arrive()));
    const cookies = new Set<string | undefined>();
    await Promise.all(
      requests.map(async (request, index) => {
        request.session[`key${index}`] = index;
        const holder = client.twin();
        await holder.leave(request);
        if (holder.cookie !== client.cookie) cookies.add(holder.cookie);
      }),
    );
    expect(renewed).toHaveLength(1);
    expect(cookies.size).toBe(1);
    await new Client(client.sessions, [...cookies][0]).request((session) =>
      expect(Object.keys(session)).toHaveLength(11),
    );
    await client.request((session) => expect(Object.keys(session)).toHaveLength(11));
  });

  it("does not log out a client that missed the response: the old cookie gets the same new one again", async () => {
    const { clock, client, renewed } = await setUp();
    clock.advance(hour);
    const first = client.twin();
    await first.request(() => {});
    const second = client.twin();
    const exchange = await second.request((session) => {
      expect(session.user).toBe("alice");
      session.seen = true;
    });
    expect(exchange.setCookies).toHaveLength(1);
    expect(second.cookie).toBe(first.cookie);
    expect(renewed).toHaveLength(1);
    clock.advance(12 * hour);
    await client.request((session) => expect(session.seen).toBe(true));
  });

  it("kills the old id a grace after the new one was first presented", async () => {
    const { clock, client } = await setUp({ renewalGrace: "30s" });
    clock.advance(hour);
    const next = client.twin();
    await next.request(() => {});
    clock.advance(10 * minute);
    await next.request((session) => expect(session.user).toBe("alice"));
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(29_999);
    await client.twin().request((session) => expect(session.user).toBe("alice"));
    clock.advance(1);
    await client.twin().request((session) => expect(session.user).toBeUndefined());
    await next.request((session) => expect(session.user).toBe("alice"));
  });

  it("lets requests in flight under the old id save, update and touch the same data", async () => {
    const { clock, client } = await setUp();
    const [slow, counter, toucher] = [await client.arrive(), await client.arrive(), await client.arrive()];
    clock.advance(hour);
    const next = client.twin();
    await next.request((session) => (session.views = 1));
    slow.session.late = 1;
    expect(await slow.session.save()).toBe("merged");
    await counter.session.update((data) => (data.views = Number(data.views) + 1));
    await toucher.session.touch();
    expect(slow.session.id).toBe(counter.session.id);
    await client.twin().leave(slow);
    await next.request((session) => expect({ ...session }).toEqual({ user: "alice", late: 1, views: 2 }));
  });

  it.each(["destroy", "regenerate", "renew"] as const)(
    "ends both ids at %s(), also under the old one",
    async (member) => {
      const { clock, client } = await setUp();
      const slow = await client.arrive();
      clock.advance(hour);
      const next = client.twin();
      await next.request(() => {});
      await slow.session[member]();
      await client.twin().leave(slow);
      for (const holder of [client.twin(), next]) {
        await holder.request((session) => expect(session.user).toBeUndefined());
      }
    },
  );

  it.each(["destroy", "regenerate", "renew"] as const)(
    "is followed by a %s() that began under the old id and is slower than the grace",
    async (member) => {
      const { clock, client } = await setUp({ renewalGrace: "30s" });
      const slow = await client.arrive();
      clock.advance(hour);
      const next = client.twin();
      await next.request(() => {});
      await next.request(() => {});
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(45_000);
      await client.twin().request((session) => expect(session.user).toBeUndefined());
      await slow.session[member]();
      await next.request((session) => expect(session.user).toBeUndefined());
    },
  );

  it("is followed by a revocation under the old id", async () => {
    const { clock, client, sessions, oldId } = await setUp();
    clock.advance(hour);
    const next = client.twin();
    await next.request(() => {});
    await sessions.destroy(oldId);
    await next.request((session) => expect(session.user).toBeUndefined());
  });

  it("is followed by a look-up under the old id, which tells the new one", async () => {
    const { clock, client, sessions, oldId, renewed } = await setUp();
    clock.advance(hour);
    await client.request(() => {});
    expect(await sessions.get(oldId)).toMatchObject({ id: renewed[0]?.id, data: { user: "alice" } });
  });

  it("is led on by a node that knows the key only as an older one", async () => {
    const { clock, client, all, cookie } = await setUp();
    clock.advance(hour);
    await client.request(() => {});
    const rotatedKeys = createSessions({ ...all, secret: ["another key, of at least thirty-two chars!", secret] });
    await new Client(rotatedKeys, cookie).request((session) => expect(session.user).toBe("alice"));
  });

  it("that the store fails leaves the session as it was, and the response a success", async () => {
    const { clock, client, store, cookie } = await setUp();
    clock.advance(hour);
    store.failing.add("write");
    await client.request((session) => expect(session.user).toBe("alice"));
    expect(client.cookie).toBe(cookie);
    store.failing.clear();
    await client.request((session) => expect(session.user).toBe("alice"));
    expect(client.cookie).not.toBe(cookie);
  });

  it("never happens after the head left, as the cookie could not go", async () => {
    const { clock, client, renewed } = await setUp();
    const request = await client.arrive();
    clock.advance(hour);
    request.exchange.headersSent = true;
    await request.visit.finish();
    expect(renewed).toEqual([]);
  });

  it("is not taken for an end by a touch of the same response", async () => {
    const { clock, store, client, sessions } = await setUp();
    const gone: SessionEvents["gone"][] = [];
    sessions.on("gone", (event) => void gone.push(event));
    clock.advance(hour);
    const request = await client.arrive();
    const touch = store.hold("touch");
    await request.visit.commit();
    touch.release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(request.exchange.setCookies).toHaveLength(1);
    expect(gone).toEqual([]);
    expect(request.session.isNew).toBe(false);
  });

  it("leaves a client signed in that never takes the new cookie", async () => {
    const { clock, client } = await setUp();
    for (let i = 0; i < 8; i++) {
      clock.advance(hour);
      await client.twin().request((session) => expect(session.user, `hour ${i}`).toBe("alice"));
    }
  });

  it("comes a whole renewalTimeout after a login", async () => {
    const { clock, client } = await setUp();
    clock.advance(hour);
    await client.request(() => {});
    await client.request(() => {});
    clock.advance(59 * minute);
    await client.request((session) => session.renew());
    clock.advance(minute);
    const exchange = await client.request(() => {});
    expect(exchange.setCookies).toEqual([]);
  });

  it("happens where every request changes the session in the background, and the old id dies there too", async () => {
    const { clock, client, cookie, sessions } = await setUp({ commit: "background" });
    clock.advance(hour);
    await client.request((session) => (session.views = 1));
    expect(client.cookie).not.toBe(cookie);
    await client.request((session) => (session.views = 2));
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(minute);
    await new Client(sessions, cookie).request((session) => expect(session.user).toBeUndefined());
    await client.request((session) => expect(session.views).toBe(2));
  });

  it("loses no late change to a login under the old id, with transforms bound to the key too", async () => {
    const bind = (bytes: Uint8Array, { key }: { key: string }) => Buffer.concat([Buffer.from(key), bytes]);
    const unbind = (bytes: Uint8Array, { key }: { key: string }) => {
      if (Buffer.from(bytes).subarray(0, key.length).toString() !== key) throw new Error("another key");
      return bytes.subarray(key.length);
    };
    const { clock, client } = await setUp({ transforms: [{ apply: bind, undo: unbind }] });
    const slow = await client.arrive();
    clock.advance(hour);
    const next = client.twin();
    await next.request((session) => (session.cart = "late"));
    await slow.session.renew();
    await client.leave(slow);
    await client.request((session) => expect(session.cart).toBe("late"));
  });
});
