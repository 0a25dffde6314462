/**
 * Idle, absolute and renewal timeout together: enforced by the record and the store's clock, whatever the cookie says,
 * to the millisecond; of one session alone; and on nodes whose own clocks are wrong.
 */
import { afterEach, describe, expect, it, vi } from "vitest";
import { createSessions, memoryStore, type SessionOptions } from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { Client } from "../support/exchange.ts";
import { type ProbeCall, probeStore } from "../support/probe-store.ts";

const secret = "a secret of at least thirty-two characters";
const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

function setUp(options: Partial<SessionOptions> = {}) {
  const clock = manualClock();
  const store = probeStore(memoryStore({ clock: () => clock.now() }));
  const sessions = createSessions({ secret, store, ttl: hour, touchInterval: 0, ...options });
  return { clock, store, sessions };
}

/** Who has logged in; the cookie stays in the client whatever the browser would do with it. */
async function loggedIn(given: ReturnType<typeof setUp>): Promise<Client> {
  const client = new Client(given.sessions);
  await client.request(async (session) => {
    await session.renew();
    session.user = "ada";
  });
  return client;
}

/** Whose session a request with this cookie finds, without leaving a trace: the request never ends. */
async function userOf(client: Client): Promise<unknown> {
  return (await client.arrive()).session.user;
}

const isWritten = ({ verb, settled }: ProbeCall): boolean => verb === "write" && settled;

afterEach(() => {
  vi.useRealTimers();
});

describe("the idle timeout", () => {
  it("[ASVS5 7.3.1] lets a session live for its last millisecond, and not for one more", async () => {
    const given = setUp();
    const client = await loggedIn(given);
    given.clock.advance(hour - 1);
    expect(await userOf(client)).toBe("ada");
    given.clock.advance(1);
    expect(await userOf(client)).toBeUndefined();
  });

  it("[ASVS4 3.3.2] counts from the last activity, be it a request that only reads", async () => {
    const given = setUp({ absoluteTimeout: null });
    const client = await loggedIn(given);
    for (let step = 0; step < 5; step++) {
      given.clock.advance(hour - 1);
      await client.request((session) => expect(session.user).toBe("ada"));
    }
    given.clock.advance(hour);
    expect(await userOf(client)).toBeUndefined();
  });

  it("[NIST cookie expiry] holds for a cookie that claims a longer life, and for one that was kept after it", async () => {
    const given = setUp({ cookie: { maxAge: "7d" } });
    const client = await loggedIn(given);
    given.clock.advance(hour);
    expect(await userOf(client)).toBeUndefined();
    const short = setUp({ cookie: { maxAge: "1m" }, rolling: false });
    const kept = await loggedIn(short);
    short.clock.advance(hour);
    expect(await userOf(kept)).toBeUndefined();
  });
});

describe("the absolute timeout", () => {
  it("[ASVS5 7.3.2] ends an active session on its millisecond, whatever is read, saved, touched or rotated in time", async () => {
    const given = setUp({ absoluteTimeout: 3 * hour, renewalTimeout: 40 * minute });
    const client = await loggedIn(given);
    const start = given.clock.now();
    while (given.clock.now() < start + 3 * hour - 10 * minute) {
      given.clock.advance(10 * minute);
      await client.request(async (session) => {
        expect(session.user).toBe("ada");
        expect(session.absoluteExpiresAt).toBe(start + 3 * hour);
        session.at = given.clock.now();
        await session.touch();
      });
    }
    given.clock.advance(10 * minute - 1);
    expect(await userOf(client)).toBe("ada");
    given.clock.advance(1);
    expect(await userOf(client)).toBeUndefined();
  });

  it("begins anew with a login, and with nothing else", async () => {
    const given = setUp({ absoluteTimeout: 2 * hour });
    const client = await loggedIn(given);
    given.clock.advance(hour - 1);
    await client.request((session) => session.renew());
    await client.request((session) => expect(session.absoluteExpiresAt).toBe(given.clock.now() + 2 * hour));
  });
});

describe("the renewal timeout", () => {
  it("[CS renewal timeout] changes the id on its millisecond, and the old one answers until the grace is over", async () => {
    const given = setUp({ renewalTimeout: 10 * minute, renewalGrace: "30s" });
    const client = await loggedIn(given);
    const before = client.cookie;
    given.clock.advance(10 * minute - 1);
    await client.request((session) => expect(session.user).toBe("ada"));
    expect(client.cookie).toBe(before);
    given.clock.advance(1);
    await client.request((session) => expect(session.user).toBe("ada"));
    expect(client.cookie).not.toBe(before);
    const late = new Client(given.sessions, before);
    expect(await userOf(late)).toBe("ada");
    // Now the new id is presented: the grace begins. Nobody waits for that to be written, under both ids.
    given.store.forget();
    await client.request((session) => expect(session.user).toBe("ada"));
    await vi.waitFor(() => expect(given.store.calls.filter(isWritten)).toHaveLength(2), 60_000);
    given.clock.advance(30_000 - 1);
    expect(await userOf(new Client(given.sessions, before))).toBe("ada");
    given.clock.advance(1);
    expect(await userOf(new Client(given.sessions, before))).toBeUndefined();
    expect(await userOf(client)).toBe("ada");
  });
});

describe("all three together", () => {
  it("[CS session expiration] rotate on time, end when idle, and end for good", async () => {
    const options = { ttl: 20 * minute, absoluteTimeout: hour, renewalTimeout: 15 * minute } as const;
    const active = setUp(options);
    const client = await loggedIn(active);
    const cookies = new Set<string | undefined>();
    for (let passed = 0; passed < 60 - 10; passed += 10) {
      active.clock.advance(10 * minute);
      await client.request((session) => expect(session.user).toBe("ada"));
      cookies.add(client.cookie);
    }
    expect(cookies.size).toBeGreaterThanOrEqual(3);
    active.clock.advance(10 * minute);
    expect(await userOf(client)).toBeUndefined();
    const idle = setUp(options);
    const sleeper = await loggedIn(idle);
    idle.clock.advance(20 * minute);
    expect(await userOf(sleeper)).toBeUndefined();
  });
});

describe("session.expire()", () => {
  it("gives one session an idle timeout of its own, shorter or longer, which touches keep to", async () => {
    const given = setUp();
    const [short, long] = [await loggedIn(given), await loggedIn(given)];
    await short.request((session) => {
      session.expire({ idle: "5m" });
      expect(session.expiresAt).toBe(given.clock.now() + 5 * minute);
    });
    await long.request((session) => session.expire({ idle: 8 * hour }));
    given.clock.advance(5 * minute - 1);
    await short.request((session) => expect(session.user).toBe("ada"));
    given.clock.advance(5 * minute - 1);
    await short.request((session) => expect(session.expiresAt).toBe(given.clock.now() + 1));
    given.clock.advance(5 * minute);
    expect(await userOf(short)).toBeUndefined();
    given.clock.advance(7 * hour);
    await long.request((session) => expect(session.user).toBe("ada"));
  });

  it("gives one session an absolute timeout of its own, counted from the login, however often it is set", async () => {
    const given = setUp({ absoluteTimeout: "30d" });
    const client = await loggedIn(given);
    const start = given.clock.now();
    for (let step = 0; step < 3; step++) {
      await client.request((session) => {
        session.expire({ absolute: "2h" });
        expect(session.absoluteExpiresAt).toBe(start + 2 * hour);
      });
      given.clock.advance(30 * minute);
    }
    given.clock.advance(30 * minute - 1);
    expect(await userOf(client)).toBe("ada");
    given.clock.advance(1);
    expect(await userOf(client)).toBeUndefined();
  });

  it("may lengthen the absolute timeout too, and takes both back with null", async () => {
    const given = setUp({ absoluteTimeout: 2 * hour });
    const client = await loggedIn(given);
    const start = given.clock.now();
    await client.request((session) => session.expire({ idle: "2d", absolute: "10d" }));
    given.clock.advance(day);
    await client.request((session) => {
      expect(session.absoluteExpiresAt).toBe(start + 10 * day);
      session.expire({ idle: null, absolute: null });
    });
    // Two hours from the login have passed long ago.
    given.clock.advance(1);
    expect(await userOf(client)).toBeUndefined();
  });

  it("is a change: written once, also on a session without data, and not again for the same value", async () => {
    const given = setUp({ touchInterval: minute });
    const client = new Client(given.sessions);
    await client.request((session) => session.expire({ idle: "5m" }));
    expect(given.store.count("write")).toBe(1);
    await client.request((session) => session.expire({ idle: 5 * minute }));
    expect(given.store.count("write")).toBe(1);
  });

  it("goes along at a login, is cut by the absolute deadline, and bounds a persistent cookie", async () => {
    const given = setUp({ cookie: { maxAge: "ttl" } });
    const client = await loggedIn(given);
    const exchange = await client.request((session) => session.expire({ idle: "10h", absolute: "6h" }));
    expect(exchange.setCookies[0]).toContain(`Max-Age=${(6 * hour) / 1000};`);
    const again = await client.request(async (session) => {
      await session.renew();
      expect(session.expiresAt).toBe(given.clock.now() + 6 * hour);
    });
    expect(again.setCookies[0]).toContain(`Max-Age=${(6 * hour) / 1000};`);
  });

  it("merges with what another request changed at the same time", async () => {
    const given = setUp();
    const client = await loggedIn(given);
    const [one, other] = [await client.arrive(), await client.twin().arrive()];
    one.session.expire({ idle: "5m" });
    other.session.expire({ absolute: "2h" });
    other.session.theme = "dark";
    await client.leave(one);
    await client.twin().leave(other);
    await client.request((session) => {
      expect(session.theme).toBe("dark");
      expect(session.expiresAt).toBe(given.clock.now() + 5 * minute);
      expect(session.absoluteExpiresAt).toBe(given.clock.now() + 2 * hour);
    });
  });

  it.each([
    [undefined],
    [5],
    [{ idle: "soon" }],
    [{ idle: 0 }],
    [{ idle: Number.NaN }],
    [{ absolute: -1 }],
    [{ absolute: Number.POSITIVE_INFINITY }],
    [{ absolute: 9e15 }],
    [{ ttl: "5m" }],
  ])("refuses %j, and changes nothing", async (wrong) => {
    const given = setUp();
    const client = await loggedIn(given);
    given.store.forget();
    await client.request((session) => {
      // Wrong on purpose.
      expect(() => session.expire(wrong as { idle: number })).toThrow(
        expect.objectContaining({ code: "ERR_SESSION_EXPIRE" }),
      );
    });
    expect(given.store.count("write")).toBe(0);
  });
});

describe("clocks that are wrong", () => {
  it("a store's clock that jumps forward ends what it passed, and one that jumps back revives nothing that was ended", async () => {
    const given = setUp();
    const [client, other] = [await loggedIn(given), await loggedIn(given)];
    const loggedOut = other.twin();
    await other.request((session) => session.destroy());
    given.clock.advance(2 * hour);
    expect(await userOf(client)).toBeUndefined();
    given.clock.advance(-2 * hour - 5 * minute);
    expect(await userOf(loggedOut)).toBeUndefined();
    // A session made before the jump back keeps its absolute deadline; a touch does not shorten or lose it.
    const late = await loggedIn(given);
    given.clock.advance(-10 * minute);
    await late.request((session) => expect(session.user).toBe("ada"));
    await late.request((session) => {
      session.theme = "dark";
    });
    expect(await userOf(late)).toBe("ada");
    given.clock.advance(hour);
    expect(await userOf(late)).toBeUndefined();
  });

  it.each([-5, 5])(
    "a node whose own clock is %i minutes off agrees with the store to the millisecond",
    async (skew) => {
      const given = setUp({ absoluteTimeout: 90 * minute });
      vi.useFakeTimers({ now: given.clock.now() + skew * minute, toFake: ["Date"] });
      const client = await loggedIn(given);
      await client.request((session) => {
        expect(session.expiresAt).toBe(given.clock.now() + hour);
        expect(session.authenticatedAt).toBe(given.clock.now());
      });
      given.clock.advance(hour - 1);
      await client.request((session) => expect(session.user).toBe("ada"));
      given.clock.advance(30 * minute);
      expect(await userOf(client)).toBe("ada");
      given.clock.advance(1);
      expect(await userOf(client)).toBeUndefined();
    },
  );
});
