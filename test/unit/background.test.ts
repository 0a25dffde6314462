import { describe, expect, it } from "vitest";
import { createSessions, memoryStore, type SessionEvents, type SessionOptions } from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { until } from "../support/deferred.ts";
import { Client } from "../support/exchange.ts";
import { expectTook } from "../support/in-time.ts";
import { probeStore } from "../support/probe-store.ts";

const hour = 3_600_000;
const secret = "the newest secret, of thirty-two characters";

async function setUp(options: Partial<SessionOptions> = {}) {
  const clock = manualClock();
  const store = probeStore(memoryStore({ clock: () => clock.now() }));
  const sessions = createSessions({ secret, store, commit: "background", ...options });
  const { cookie } = await signIn(sessions, { user: "alice" });
  store.forget();
  return { clock, store, sessions, client: new Client(sessions, cookie) };
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
    void request.visit.finish();
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

  it("waits for a save that extends a persistent cookie, and sends it again", async () => {
    const { clock, client } = await setUp({ cookie: { maxAge: "ttl" } });
    clock.advance(hour);
    const exchange = await client.request((session) => (session.views = 1));
    expect(exchange.setCookies).toHaveLength(1);
  });

  it("costs a request that reads what it wrote no more than storeTimeout in all", async () => {
    const { store, client } = await setUp({ storeTimeout: 600 });
    const request = await client.arrive();
    const write = store.hold("write");
    request.session.views = 1;
    expect(request.visit.commit()).toBeUndefined();
    await write.reached;
    await new Promise((resolve) => setTimeout(resolve, 100));
    const read = store.hold("read");
    const start = performance.now();
    await expect(client.arrive()).rejects.toMatchObject({ status: 503 });
    expectTook(performance.now() - start, 900, "a read behind a save");
    write.release();
    read.release();
  });

  it("saves at the end what changed while the save was under way", async () => {
    const { store, client } = await setUp();
    const request = await client.arrive();
    const write = store.hold("write");
    request.session.views = 1;
    expect(request.visit.commit()).toBeUndefined();
    await write.reached;
    request.exchange.headersSent = true;
    request.session.late = 1;
    const finished = request.visit.finish();
    write.release();
    await finished;
    await client.request((session) => expect(session.late).toBe(1));
  });

  it("keeps what another process wrote when one request saves twice at once", async () => {
    const { store, sessions, client } = await setUp();
    const other = new Client(createSessions({ secret, store }), client.cookie);
    const request = await client.arrive();
    await other.request((session) => (session.theirs = 1));
    request.session.mine = 1;
    const write = store.hold("write");
    expect(request.visit.commit()).toBeUndefined();
    await write.reached;
    request.session.later = 1;
    const saved = request.session.save();
    write.release();
    await saved;
    await sessions.close();
    await other.request((session) => expect({ ...session }).toEqual({ user: "alice", theirs: 1, mine: 1, later: 1 }));
  });

  it("tries a save that the store failed once more when the response has ended", async () => {
    const { store, client } = await setUp();
    const request = await client.arrive();
    store.failing.add("write");
    request.session.views = 1;
    expect(request.visit.commit()).toBeUndefined();
    await until(() => store.calls.every(({ settled }) => settled), "the save to fail");
    store.failing.clear();
    request.exchange.headersSent = true;
    await request.visit.finish();
    await client.request((session) => expect(session.views).toBe(1));
  });

  it("lets reload(), and sessions.get(), read what this node is saving", async () => {
    const { store, client, sessions } = await setUp();
    const [writer, reader] = [await client.arrive(), await client.arrive()];
    const write = store.hold("write");
    writer.session.views = 1;
    expect(writer.visit.commit()).toBeUndefined();
    await write.reached;
    const reloaded = reader.session.reload();
    const snapshot = sessions.get(writer.session.id);
    write.release();
    await reloaded;
    expect(reader.session.views).toBe(1);
    expect((await snapshot)?.data).toMatchObject({ views: 1 });
  });

  it.each(["background", "before-response"] as const)(
    "loses nothing to a reload() while the response's own save is under way (%s)",
    async (commit) => {
      const { store, client } = await setUp({ commit });
      const request = await client.arrive();
      store.delayMs.write = 50;
      request.session.views = 1;
      const left = request.visit.commit();
      request.exchange.headersSent = true;
      await Promise.all([left, request.session.reload()]);
      await request.visit.finish();
      expect(request.session.views).toBe(1);
      await client.request((session) => expect(session.views).toBe(1));
    },
  );

  it("is waited for by every close(), not by the first one alone", async () => {
    const { store, client, sessions } = await setUp();
    const request = await client.arrive();
    const write = store.hold("write");
    request.session.views = 1;
    expect(request.visit.commit()).toBeUndefined();
    await write.reached;
    void sessions.close();
    const closed = sessions.close();
    write.release();
    await closed;
    expect(store.calls.every(({ settled }) => settled)).toBe(true);
  });
});

describe('commit: "background" and timed rotation', () => {
  /** A client that has the new id, and requests that come with the old one. */
  async function rotated() {
    const made = await setUp({ renewalTimeout: "1h", renewalGrace: "30s" });
    const { clock, client, sessions } = made;
    const { cookie } = client;
    const { id: oldId } = (await client.arrive()).session;
    clock.advance(hour);
    await client.request(() => {});
    expect(client.cookie).not.toBe(cookie);
    await client.request(() => {});
    return { ...made, oldId, onOldId: () => new Client(sessions, cookie).arrive() };
  }

  it("lets requests on the old id read in the grace what such a request wrote", async () => {
    const { store, onOldId } = await rotated();
    const request = await onOldId();
    store.delayMs.write = 50;
    request.session.views = 1;
    await request.visit.commit();
    expect((await onOldId()).session.views).toBe(1);
  });

  it("lets them, and sessions.get() with the old id, read what is being saved under the new one", async () => {
    const { store, client, sessions, oldId, onOldId } = await rotated();
    const request = await client.arrive();
    const write = store.hold("write");
    request.session.views = 1;
    expect(request.visit.commit()).toBeUndefined();
    await write.reached;
    const next = onOldId();
    const snapshot = sessions.get(oldId);
    write.release();
    expect((await next).session.views).toBe(1);
    expect((await snapshot)?.data).toMatchObject({ views: 1 });
  });

  it("rotates no session that is being saved: whoever has the new id reads what was written under the old one", async () => {
    const { clock, store, client } = await setUp({ renewalTimeout: "1h" });
    const { cookie } = client;
    const [writer, other] = [await client.arrive(), await client.arrive()];
    const write = store.hold("write");
    writer.session.views = 1;
    expect(writer.visit.commit()).toBeUndefined();
    await write.reached;
    // A rotation would not be held up.
    store.passing.write = 2;
    clock.advance(hour);
    await client.leave(other);
    const next = client.arrive();
    write.release();
    const request = await next;
    expect(request.session.views).toBe(1);
    await client.leave(request);
    expect(client.cookie).not.toBe(cookie);
  });
});
