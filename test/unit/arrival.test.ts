import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import {
  createSessions,
  memoryStore,
  peekSession,
  type SessionEvents,
  type SessionOptions,
  type Store,
  sessionOf,
} from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { deferred } from "../support/deferred.ts";
import { Client, fakeExchange } from "../support/exchange.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "the newest secret, of thirty-two characters";

function setUp(options: Partial<SessionOptions> = {}) {
  const clock = manualClock();
  const store = probeStore(memoryStore({ clock: () => clock.now() }));
  const sessions = createSessions({ secret, store, ...options });
  const rejected: SessionEvents["rejected"][] = [];
  sessions.on("rejected", (event) => void rejected.push(event));
  return { clock, store, sessions, rejected };
}

/** Opens a session with a raw cookie header; the user it finds. */
async function userWith(sessions: ReturnType<typeof setUp>["sessions"], header: string): Promise<unknown> {
  return (await new Client(sessions, header).arrive()).session.user;
}

describe("a cookie", () => {
  it.each<[string, (value: string) => string]>([
    ["forged", (value) => `${value.slice(0, -1)}${value.endsWith("A") ? "B" : "A"}`],
    ["with another id", (value) => `${value.startsWith("x") ? "y" : "x"}${value.slice(1)}`],
    ["truncated", (value) => value.slice(0, 40)],
    ["without a signature", (value) => value.split(".")[0] ?? ""],
    ["empty", () => ""],
    ["oversized", (value) => value + "A".repeat(15_000)],
    ["with padding", (value) => `${value}=`],
    ["percent-encoded", (value) => value.replace(".", "%2E")],
    ["with a bad percent code", (value) => `%E0%A4%A${value}`],
    ["in quotes", (value) => `"${value}"`],
    ["with control characters", (value) => `${value}\u0000\u0007`],
    ["of another library", () => "s:abc.def"],
  ])("%s is a new anonymous session and costs no store call", async (_name, mangle) => {
    const { sessions, store, rejected } = setUp();
    const { cookie } = await signIn(sessions, { user: "alice" });
    store.forget();
    const value = cookie.slice("sid=".length);
    expect(await userWith(sessions, `sid=${mangle(value)}`)).toBeUndefined();
    expect(store.count()).toBe(0);
    expect(rejected).toHaveLength(1);
    expect(rejected[0]?.address).toBe("192.0.2.1");
  });

  it("signed but unknown to the store is never adopted: what is written goes under a new id", async () => {
    const { sessions, store, rejected } = setUp();
    const { cookie, id } = await signIn(createSessions({ secret, store: memoryStore() }), { user: "alice" });
    const client = new Client(sessions, cookie);
    await client.request((session) => {
      expect(session.id).not.toBe(id);
      session.user = "bob";
    });
    expect(client.cookie).not.toBe(cookie);
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read", "write"]);
    expect(rejected).toEqual([{ reason: "unknown", id, address: "192.0.2.1" }]);
  });

  it("among doubled ones: the first that is signed and alive wins, and at most four are tried", async () => {
    const { sessions, store } = setUp();
    const alice = (await signIn(sessions, { user: "alice" })).cookie;
    const bob = (await signIn(sessions, { user: "bob" })).cookie;
    const dead = (await signIn(createSessions({ secret, store: memoryStore() }), {})).cookie;
    expect(await userWith(sessions, `${alice}; ${bob}`)).toBe("alice");
    expect(await userWith(sessions, `sid=bad; ${bob}; ${alice}`)).toBe("bob");
    expect(await userWith(sessions, `${dead}; ${alice}`)).toBe("alice");
    expect(await userWith(sessions, `sid=1; sid=2; sid=3; ${alice}`)).toBe("alice");
    store.forget();
    expect(await userWith(sessions, `sid=1; sid=2; sid=3; sid=4; ${alice}`)).toBeUndefined();
    expect(store.count()).toBe(0);
  });

  it("without a name is ignored, whatever name its value spells (CVE-2023-23934)", async () => {
    const { sessions } = setUp();
    const { cookie } = await signIn(sessions, { user: "alice" });
    expect(await userWith(sessions, `=${cookie}`)).toBeUndefined();
    expect(await userWith(sessions, `x${cookie}; y=${cookie}`)).toBeUndefined();
    expect(await userWith(sessions, `theme=dark; ${cookie}; =x`)).toBe("alice");
  });

  it("header of any text never throws and never opens another's session", async () => {
    const { sessions } = setUp();
    const { cookie } = await signIn(sessions, { user: "alice" });
    const part = fc.oneof(
      fc.string(),
      fc.string({ unit: "binary" }),
      fc.constantFrom("sid", "sid=", "=", ";", "; ", ",", "%", '"', cookie, cookie.slice(0, 30), ".", "__proto__="),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 8 }), async (parts) => {
        const header = parts.join("");
        const user = await userWith(sessions, header);
        if (user !== undefined) expect(header).toContain(cookie);
      }),
      { numRuns: 2000 },
    );
  });

  it("signed under the other default name is reported once: nodes disagree about their options", async () => {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    try {
      const { sessions } = setUp();
      const { cookie } = await signIn(sessions, { user: "alice" });
      const header = cookie.replace("sid=", "__Host-sid=");
      await userWith(sessions, header);
      await userWith(sessions, header);
      await userWith(sessions, "__Host-sid=unsigned");
      const about = warn.mock.calls.filter(([message]) => String(message).includes("__Host-sid"));
      expect(about).toHaveLength(1);
    } finally {
      warn.mockRestore();
    }
  });
});

describe("garbage under a session's key", () => {
  it.each([
    ["no JSON", "\n{"],
    ["JSON that is no object", "\n[1]"],
    ["no first line", "{}"],
    ["a bad first line", "{]\n{}"],
    ["a lifetime that is none", '{"maxAge":"x"}\n{}'],
    ["a key named like a member", '\n{"save":1}'],
    ["nesting without end", `\n{"a":${"[".repeat(5000)}${"]".repeat(5000)}}`],
    ["random bytes", "\u0000\uffff\u0001"],
  ])("(%s) is a new session and one report; the record is left alone", async (_name, payload) => {
    const { clock, sessions, store, rejected } = setUp();
    const { cookie, id } = await signIn(sessions, { user: "alice" });
    const call = { deadline: performance.now() + 1000, durable: false };
    const record = await store.read(id, call);
    if (record?.kind !== "live") throw new Error("signIn stores a live record");
    const { version, ...stamps } = record;
    await store.write(id, { ...stamps, payload: Buffer.from(payload) }, version, call);
    clock.advance(1);
    const client = new Client(sessions, cookie);
    await client.request((session) => {
      expect(session.user).toBeUndefined();
      session.user = "bob";
    });
    expect(rejected).toEqual([{ reason: "garbage", id, address: "192.0.2.1" }]);
    const after = await store.read(id, call);
    expect(after?.kind === "live" && Buffer.from(after.payload).toString()).toBe(payload);
    expect(await userWith(sessions, client.cookie ?? "")).toBe("bob");
    expect("polluted" in {}).toBe(false);
  });

  it("that the store reports is a new session too", async () => {
    const { sessions, rejected } = setUp({ store: garbageStore(memoryStore()) });
    const { cookie } = await signIn(createSessions({ secret, store: memoryStore() }), { user: "alice" });
    expect(await userWith(sessions, cookie)).toBeUndefined();
    expect(rejected.map(({ reason }) => reason)).toEqual(["garbage"]);
  });
});

function garbageStore(inner: Store): Store {
  return { ...probeStore(inner), read: async () => ({ kind: "garbage", detail: "a list" }) };
}

describe("load: lazy", () => {
  it("makes no store call until sessionOf, and says so when the session is used before", async () => {
    const { sessions, store } = setUp({ load: "lazy" });
    const { cookie } = await signIn(sessions, { user: "alice" });
    store.forget();
    const exchange = fakeExchange(cookie);
    const visit = sessions.visit(exchange);
    expect(visit.begin()).toBeUndefined();
    expect(() => visit.session).toThrow(
      expect.objectContaining({
        code: "ERR_SESSION_NOT_LOADED",
        message: expect.stringContaining("sessionOf") as string,
      }) as Error,
    );
    expect(peekSession(exchange.raw)).toBeUndefined();
    await visit.commit();
    expect(store.count()).toBe(0);
    const session = await sessionOf({ raw: exchange.raw });
    expect(session).toBe(visit.session);
    expect({ ...session }).toEqual({ user: "alice" });
    expect(peekSession({ req: exchange.raw })).toBe(session);
    expect(store.count("read")).toBe(1);
  });
});

describe("skip", () => {
  it("leaves a request without a session, and its response alone", async () => {
    const { sessions, store } = setUp({ skip: (request) => request.url === "/health" });
    const exchange = fakeExchange("sid=whatever");
    exchange.raw.url = "/health";
    const visit = sessions.visit(exchange);
    expect(visit.begin()).toBeUndefined();
    expect(visit.skipped).toBe(true);
    expect(visit.session).toBeUndefined();
    expect(visit.commit()).toBeUndefined();
    expect(visit.finish()).toBeUndefined();
    expect(exchange.headers.size).toBe(0);
    expect(store.count()).toBe(0);
    await expect(sessionOf(exchange.raw)).rejects.toMatchObject({ code: "ERR_SESSION_NO_SESSION" });
  });

  it("is not what a request without the middleware is: sessionOf says what to mount", async () => {
    const { raw } = fakeExchange();
    await expect(sessionOf(raw)).rejects.toMatchObject({ code: "ERR_SESSION_NO_SESSION" });
    expect(peekSession(raw)).toBeUndefined();
  });
});

describe("a store in trouble", () => {
  it("that fails the load fails the first access with a 503, not the arrival; error pages can peek", async () => {
    const { sessions, store } = setUp();
    const { cookie } = await signIn(sessions, { user: "alice" });
    const errors: SessionEvents["storeError"][] = [];
    sessions.on("storeError", (event) => void errors.push(event));
    store.failing.add("read");
    const exchange = fakeExchange(cookie);
    const visit = sessions.visit(exchange);
    await visit.begin();
    expect(visit.peek()).toBeUndefined();
    expect(() => visit.session).toThrow(
      expect.objectContaining({ code: "ERR_SESSION_STORE", status: 503, headers: { "retry-after": "1" } }) as Error,
    );
    expect(visit.commit()).toBeUndefined();
    expect(exchange.headers.size).toBe(0);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({ operation: "read", error: visit.failure });
  });

  it("that never answers costs storeTimeout in all: a save has what the load left of it", async () => {
    const inner = probeStore(memoryStore());
    const leftMs: number[] = [];
    const store = probeStore({
      ...inner,
      write: (...args) => {
        leftMs.push(args[3].deadline - performance.now());
        return new Promise(() => {});
      },
    });
    const { cookie } = await signIn(createSessions({ secret, store: inner }), { user: "alice" });
    store.delayMs.read = 200;
    const request = await new Client(createSessions({ secret, store, storeTimeout: 1_500 }), cookie).arrive();
    request.session.views = 1;
    await expect(request.visit.commit()).rejects.toMatchObject({ code: "ERR_SESSION_STORE_TIMEOUT", status: 503 });
    // The timer of the delay may fire a millisecond early.
    expect(leftMs).toHaveLength(1);
    expect(leftMs[0]).toBeLessThan(1_302);
  });

  it("costs nothing to a request whose session is in step, even if its touch hangs", async () => {
    const { clock, sessions, store } = setUp({ ttl: "1h", touchInterval: 1000 });
    const { cookie } = await signIn(sessions, { user: "alice" });
    clock.advance(2000);
    const request = await new Client(sessions, cookie).arrive();
    const hold = store.hold("touch");
    expect(request.visit.commit()).toBeUndefined();
    await hold.reached;
    hold.release();
  });

  it("that failed a save is never a success, even where the app swallowed the rejection", async () => {
    const { sessions, store } = setUp();
    const { cookie } = await signIn(sessions, { user: "alice" });
    const client = new Client(sessions, cookie);
    const request = await client.arrive();
    store.failing.add("write");
    await request.session.update((data) => (data.views = 1)).catch(() => {});
    await expect(request.visit.commit()).rejects.toMatchObject({ status: 503 });
  });

  it("that is back before the commit makes a failed save good", async () => {
    const { sessions, store } = setUp();
    const { cookie } = await signIn(sessions, { user: "alice" });
    const client = new Client(sessions, cookie);
    const request = await client.arrive();
    request.session.views = 1;
    store.failing.add("write");
    await request.session.save().catch(() => {});
    store.failing.delete("write");
    await client.leave(request);
    await client.request((session) => expect(session.views).toBe(1));
  });
});

describe("after the response left", () => {
  it("a change to an existing session is saved at the end", async () => {
    const { sessions } = setUp();
    const client = new Client(sessions, (await signIn(sessions, { user: "alice" })).cookie);
    const request = await client.arrive();
    await client.leave(request);
    request.exchange.headersSent = true;
    request.session.late = 1;
    await request.visit.finish();
    await client.request((session) => expect(session.late).toBe(1));
  });

  it("a change through a reference that the handler kept is saved at the end of a plain answer too", async () => {
    const { sessions } = setUp();
    const client = new Client(sessions, (await signIn(sessions, { user: "alice" })).cookie);
    const request = await client.arrive();
    const kept = request.session;
    await client.leave(request);
    request.exchange.headersSent = true;
    kept.late = 1;
    await request.visit.finish();
    await client.request((session) => expect(session.late).toBe(1));
  });

  it("a change that needed a cookie is saved and reported", async () => {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    try {
      const { sessions } = setUp();
      const skipped: SessionEvents["cookieSkipped"][] = [];
      sessions.on("cookieSkipped", (event) => void skipped.push(event));
      const request = await new Client(sessions).arrive();
      await request.visit.commit();
      request.exchange.headersSent = true;
      request.session.late = 1;
      await request.visit.finish();
      expect(skipped).toEqual([{ id: request.session.id, reason: "headers-sent" }]);
      expect(String(warn.mock.calls[0]?.[0])).toContain("headers had left");
      expect(request.exchange.setCookies).toEqual([]);
    } finally {
      warn.mockRestore();
    }
  });

  it("a cookie that browsers would refuse is not set, and reported once a request, however often it is saved", async () => {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    try {
      const { sessions } = setUp({ cookie: { sameSite: () => "none", secure: "auto" } });
      const skipped: SessionEvents["cookieSkipped"][] = [];
      sessions.on("cookieSkipped", (event) => void skipped.push(event));
      const client = new Client(sessions);
      for (let request = 1; request <= 2; request++) {
        let id = "";
        const exchange = await client.request(async (session) => {
          for (let step = 0; step < 3; step++) {
            session.step = step;
            await session.save();
          }
          session.last = true;
          id = session.id;
        });
        expect([exchange.setCookies, skipped.splice(0)]).toEqual([[], [{ id, reason: "insecure" }]]);
      }
      expect(warn).toHaveBeenCalledTimes(1);
      expect(String(warn.mock.calls[0]?.[0])).toContain("serve HTTPS");
    } finally {
      warn.mockRestore();
    }
  });

  it("each call has the whole storeTimeout again, and a failure is reported, not thrown", async () => {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    try {
      const { sessions, store } = setUp({ storeTimeout: 1_000 });
      const client = new Client(sessions, (await signIn(sessions, { user: "alice" })).cookie);
      store.delayMs.write = 400;
      const request = await client.arrive();
      await client.leave(request);
      request.exchange.headersSent = true;
      void request.visit.finish();
      for (const views of [1, 2, 3]) {
        request.session.views = views;
        expect(await request.session.save()).toBe("saved");
      }
      store.failing.add("write");
      request.session.views = 4;
      await request.visit.finish();
      expect(String(warn.mock.calls[0]?.[0])).toContain("was not saved");
    } finally {
      warn.mockRestore();
    }
  });

  it("nothing is encoded or stored again where nobody looked", async () => {
    const { sessions, store } = setUp();
    const client = new Client(sessions, (await signIn(sessions, { user: "alice" })).cookie);
    const request = await client.arrive();
    await client.leave(request);
    store.forget();
    expect(request.visit.finish()).toBeUndefined();
    expect(store.count()).toBe(0);
  });
});

describe("one request", () => {
  it("joins parallel commits: one write", async () => {
    const { sessions, store } = setUp();
    const request = await new Client(sessions).arrive();
    request.session.user = "alice";
    const gate = deferred();
    await Promise.all([request.visit.commit(), request.visit.commit(), gate.resolve()]);
    await request.visit.commit();
    expect(store.count("write")).toBe(1);
    expect(request.exchange.setCookies).toHaveLength(1);
  });

  it("keeps other cookies, an own Cache-Control and an existing Vary of the response", async () => {
    const { sessions } = setUp();
    const { visit, exchange, session } = await new Client(sessions).arrive();
    exchange.setHeader("set-cookie", ["theme=dark", "sid2=x"]);
    exchange.setHeader("cache-control", "private");
    exchange.setHeader("vary", "Accept-Encoding");
    session.user = "alice";
    await visit.commit();
    expect(exchange.setCookies).toEqual(["theme=dark", "sid2=x", expect.stringMatching(/^sid=/)]);
    expect(exchange.headers.get("cache-control")).toBe("private");
    expect(exchange.headers.get("vary")).toBe("Accept-Encoding, Cookie");
  });

  it("evaluates cookie attributes that are functions of the request", async () => {
    const { sessions } = setUp({
      cookie: {
        domain: (request) => (request.url === "/shop" ? "shop.example" : undefined),
        secure: () => true,
        sameSite: () => "strict",
        maxAge: () => "1h",
        partitioned: () => true,
        priority: () => "high",
        path: () => "/shop",
        httpOnly: () => false,
      },
    });
    const exchange = fakeExchange();
    exchange.raw.url = "/shop";
    const visit = sessions.visit(exchange);
    Object.assign(await visit.load(), { user: "alice" });
    await visit.commit();
    expect(exchange.setCookies[0]).toMatch(/; Max-Age=3600; Domain=shop\.example; Path=\/shop; Expires=/);
    expect(exchange.setCookies[0]).toMatch(/; Secure; Partitioned; Priority=High; SameSite=Strict$/);
  });

  it("does not set a cookie that browsers refuse, and says why", async () => {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    try {
      const { sessions } = setUp({ cookie: { sameSite: "none" } });
      const exchange = await new Client(sessions).request((session) => (session.user = "alice"));
      expect(exchange.setCookies).toEqual([]);
      expect(String(warn.mock.calls[0]?.[0])).toContain('sameSite "none" without secure');
    } finally {
      warn.mockRestore();
    }
  });
});

describe("an engine", () => {
  it("reads and ends sessions by public id", async () => {
    const { clock, sessions } = setUp({ ttl: 1000 });
    const { id } = await signIn(sessions, { user: "alice" });
    expect(await sessions.get(id)).toEqual({
      id,
      data: { user: "alice" },
      createdAt: clock.now(),
      touchedAt: clock.now(),
      expiresAt: clock.now() + 1000,
      absoluteExpiresAt: clock.now() + 30 * 86_400_000,
      authenticatedAt: clock.now(),
      description: null,
    });
    await sessions.destroy(id);
    expect(await sessions.get(id)).toBeUndefined();
    expect(await sessions.get("nonsense")).toBeUndefined();
  });

  it("opens and commits a session for a host without an adapter", async () => {
    const { sessions } = setUp();
    const exchange = fakeExchange();
    const session = await sessions.open(exchange);
    Object.assign(session, { user: "alice" });
    expect(await sessions.commit(session)).toBe("saved");
    expect(exchange.setCookies).toHaveLength(1);
  });

  it("reads the session of an upgrade request without setting a cookie", async () => {
    const { sessions } = setUp();
    const { cookie, id } = await signIn(sessions, { user: "alice" });
    const { raw } = fakeExchange();
    raw.headers.cookie = cookie;
    const session = await sessions.fromRequest(raw);
    expect(session.id).toBe(id);
    Object.assign(session, { socket: 1 });
    expect(await session.save()).toBe("saved");
  });

  it("survives listeners that throw or reject, and stops calling those that unsubscribed", async () => {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    try {
      const { sessions } = setUp();
      let calls = 0;
      sessions.on("destroyed", () => {
        throw new Error("listener broke");
      });
      sessions.on("destroyed", () => Promise.reject(new Error("listener rejected")));
      const off = sessions.on("destroyed", () => void calls++);
      const first = await signIn(sessions, {});
      await sessions.destroy(first.id);
      off();
      const second = await signIn(sessions, {});
      await sessions.destroy(second.id);
      expect(await sessions.get(first.id)).toBeUndefined();
      expect(calls).toBe(1);
      const messages = warn.mock.calls.map(([message]) => String(message));
      expect(messages.filter((message) => message.includes("listener broke"))).toHaveLength(2);
      expect(messages.filter((message) => message.includes("listener rejected"))).toHaveLength(2);
    } finally {
      warn.mockRestore();
    }
  });

  it("closes its store only when the last engine that uses it is closed", async () => {
    let closed = 0;
    const store: Store = { ...probeStore(memoryStore()), close: async () => void closed++ };
    const [one, two] = [createSessions({ secret, store }), createSessions({ secret, store })];
    await one.close();
    await one.close();
    expect(closed).toBe(0);
    await two.close();
    expect(closed).toBe(1);
  });

  it("refuses a genId that gives unsafe or repeated ids, and never merges two users", async () => {
    const { store } = setUp();
    for (const bad of ["short", "with spaces and more than 22", "x".repeat(129), 42]) {
      // Wrong on purpose.
      const sessions = createSessions({ secret, store, genId: () => bad as string });
      await expect(signIn(sessions, {})).rejects.toMatchObject({ code: "ERR_SESSION_ID" });
    }
    const constant = createSessions({ secret, store, genId: () => "always-the-same-identifier" });
    await signIn(constant, { user: "alice" });
    await expect(signIn(constant, { user: "bob" })).rejects.toMatchObject({ code: "ERR_SESSION_ID" });
  });

  it("runs the transforms in order, and backwards on the way out, with the record's key", async () => {
    const keys = new Set<string>();
    const flip = (bytes: Uint8Array) => bytes.map((byte) => byte ^ 0xff);
    const suffix = Buffer.from("!");
    const { sessions, store } = setUp({
      transforms: [
        {
          apply(bytes, { key }) {
            keys.add(key);
            return flip(bytes);
          },
          undo: flip,
        },
        { apply: (bytes) => Buffer.concat([bytes, suffix]), undo: (bytes) => bytes.subarray(0, -1) },
      ],
    });
    const { cookie, id } = await signIn(sessions, { user: "alice" });
    expect(await userWith(sessions, cookie)).toBe("alice");
    expect([...keys]).toEqual([id]);
    const record = await store.read(id, { deadline: performance.now() + 1000, durable: false });
    expect(record?.kind === "live" && Buffer.from(record.payload).toString("latin1")).not.toContain("alice");
  });

  it("uses the codec it is given, also to tell what changed", async () => {
    const { sessions, store } = setUp({
      codec: {
        encode: (data) =>
          Object.keys(data)
            .sort()
            .map((key) => `${key}=${String(data[key])}`)
            .join("&"),
        decode: (text) => Object.fromEntries(new URLSearchParams(text)),
      },
    });
    const client = new Client(sessions);
    await client.request((session) => Object.assign(session, { b: "2", a: "1" }));
    store.forget();
    await client.request((session) => {
      expect({ ...session }).toEqual({ a: "1", b: "2" });
      delete session.a;
      session.a = "1";
    });
    expect(store.count("write")).toBe(0);
  });
});

describe("the reason for an empty session", () => {
  it.each(["hunter2 is no JSON", "hunter2\n{}"])("never quotes a record that can't be read: %j", async (text) => {
    const { sessions, store } = setUp();
    const { cookie, id } = await signIn(sessions, { user: "alice" });
    const call = { deadline: performance.now() + 1000, durable: false };
    const record = await store.read(id, call);
    if (record?.kind !== "live") throw new Error("no record");
    const payload = Buffer.from(text.includes("\n") ? text : `\n${text}`);
    await store.write(id, { ...record, payload }, record.version, call);
    const reasons: string[] = [];
    const explain = (reason: string): void => void reasons.push(reason);
    expect((await sessions.visit(Object.assign(fakeExchange(cookie), { explain })).load()).isNew).toBe(true);
    expect(reasons.join()).toContain("garbage");
    expect(reasons.join()).not.toContain("hunter2");
  });
});
