/**
 * Guessing and noise: who sends cookies that are no session is counted per address, within bounds, and a logout may
 * clear more than the cookie. Floods over real sockets are in `flood.test.ts`.
 */
import { describe, expect, it, vi } from "vitest";
import { Events, type RejectReason } from "../../src/events.ts";
import { createSessions, memoryStore, type SessionEvents, type SessionOptions } from "../../src/index.ts";
import { networkOf, Suspicion } from "../../src/suspicion.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { Client, fakeExchange } from "../support/exchange.ts";

const secret = "a secret of at least thirty-two characters";

function counting(option: { after: number; withinMs: number }) {
  const events = new Events();
  let now = 1_000_000;
  const suspicion = new Suspicion(events, option, () => now);
  const heard: SessionEvents["suspicious"][] = [];
  const listen = (): (() => void) => events.on("suspicious", (event) => heard.push(event));
  const note = (address: string, times: number, reason: RejectReason = "bad-signature"): void => {
    for (let time = 0; time < times; time++) suspicion.note(reason, address);
  };
  const advance = (ms: number): void => {
    now += ms;
  };
  return { heard, listen, note, advance };
}

describe("guessing", () => {
  it("[CS guessing detection] is counted per address and kind, and told at the threshold and at each doubling", () => {
    const { heard, listen, note } = counting({ after: 4, withinMs: 60_000 });
    listen();
    note("192.0.2.1", 2, "malformed");
    note("192.0.2.1", 1, "unknown");
    note("192.0.2.2", 3);
    expect(heard).toEqual([]);
    note("192.0.2.1", 1);
    expect(heard).toEqual([{ address: "192.0.2.1", since: 1_000_000, malformed: 2, badSignature: 1, unknown: 1 }]);
    note("192.0.2.1", 28);
    expect(heard.map(({ badSignature }) => badSignature)).toEqual([1, 5, 13, 29]);
    // A record that can't be read is no guess.
    note("192.0.2.3", 10, "garbage");
    expect(heard).toHaveLength(4);
  });

  it("begins anew when the span is over", () => {
    const { heard, listen, note, advance } = counting({ after: 4, withinMs: 60_000 });
    listen();
    note("192.0.2.1", 3);
    advance(60_000);
    note("192.0.2.1", 3);
    expect(heard).toEqual([]);
    note("192.0.2.1", 1);
    expect(heard).toMatchObject([{ badSignature: 4, since: 1_060_000 }]);
  });

  it("costs nothing while nobody listens", () => {
    const { heard, listen, note } = counting({ after: 4, withinMs: 60_000 });
    note("192.0.2.1", 3);
    const stop = listen();
    note("192.0.2.1", 3);
    expect(heard).toEqual([]);
    stop();
    note("192.0.2.1", 100);
    expect(heard).toEqual([]);
  });

  it("keeps its memory, and those who go on guessing, however many addresses come by", () => {
    const { heard, listen, note } = counting({ after: 20, withinMs: 60_000 });
    listen();
    for (let at = 0; at < 200_000; at++) {
      note(`10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`, 1);
      if (at % 9_000 === 0) note("192.0.2.1", 1);
    }
    expect(heard).toMatchObject([{ address: "192.0.2.1", badSignature: 20 }]);
  });

  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:0DB8:0001:0002::6", "2001:db8:1:2::/64"],
    ["2001:db8::6", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["no address", "no address"],
    ["x".repeat(500), "x".repeat(64)],
  ])("counts %s as %s", (address, network) => {
    expect(networkOf(address)).toBe(network);
  });

  it("is seen from requests: malformed cookies, bad signatures, and ids that the store does not know", async () => {
    const sessions = createSessions({ secret, store: memoryStore(), suspicion: { after: 6, within: "1h" } });
    const elsewhere = createSessions({ secret, store: memoryStore() });
    const { cookie: dead } = await signIn(elsewhere, { user: "ada" });
    const forged = `${dead.slice(0, -1)}${dead.endsWith("A") ? "B" : "A"}`;
    const heard: SessionEvents["suspicious"][] = [];
    sessions.on("suspicious", (event) => heard.push(event));
    for (const cookie of ["sid=1", "sid=admin", forged, forged, forged, dead]) {
      await new Client(sessions, cookie).request((session) => expect(session.isNew).toBe(true));
    }
    expect(heard).toMatchObject([{ address: "192.0.2.1", malformed: 2, badSignature: 3, unknown: 1 }]);
  });
});

describe("a logout", () => {
  async function logout(options: Partial<SessionOptions>, earlier?: string) {
    const sessions = createSessions({ secret, ...options });
    const { cookie } = await signIn(sessions, { user: "ada" });
    const exchange = fakeExchange(cookie);
    if (earlier !== undefined) exchange.setHeader("clear-site-data", earlier);
    const visit = sessions.visit(exchange);
    await (await visit.load()).destroy();
    await visit.commit();
    return exchange;
  }

  it("[CS caching] clears the cookie, is never cached, and sends Clear-Site-Data where the option says so", async () => {
    const plain = await logout({});
    expect(plain.setCookies[0]).toMatch(/^sid=; Max-Age=0;/);
    expect(plain.headers.get("cache-control")).toBe("no-store");
    expect(plain.headers.has("clear-site-data")).toBe(false);
    const clearing = await logout({ clearSiteData: true });
    expect(clearing.headers.get("clear-site-data")).toBe('"cache", "storage"');
    const all = await logout({ clearSiteData: ["cache", "cookies", "storage", "executionContexts"] });
    expect(all.headers.get("clear-site-data")).toBe('"cache", "cookies", "storage", "executionContexts"');
  });

  it("leaves the app's own Clear-Site-Data alone", async () => {
    const exchange = await logout({ clearSiteData: true }, '"cookies"');
    expect(exchange.headers.get("clear-site-data")).toBe('"cookies"');
  });

  it("alone sends it: no other end, no anonymous visitor", async () => {
    const sessions = createSessions({ secret, clearSiteData: true });
    const { cookie } = await signIn(sessions, { user: "ada" });
    const regenerated = await new Client(sessions, cookie).request((session) => session.regenerate());
    const { cookie: other } = await signIn(sessions, { user: "ada" });
    const renewed = await new Client(sessions, other).request((session) => session.renew());
    const visitor = await new Client(sessions).request((session) => session.destroy());
    for (const exchange of [regenerated, renewed, visitor]) expect(exchange.headers.has("clear-site-data")).toBe(false);
  });
});

describe("caches", () => {
  it("[CS caching] get no response that sets the cookie, and tell responses apart that a session was used for", async () => {
    const sessions = createSessions({ secret });
    const client = new Client(sessions);
    const first = await client.request((session) => Object.assign(session, { user: "ada" }));
    expect([first.headers.get("cache-control"), first.headers.get("vary")]).toEqual(["no-store", "Cookie"]);
    const read = await client.request((session) => expect(session.user).toBe("ada"));
    expect([read.headers.get("cache-control"), read.headers.get("vary")]).toEqual([undefined, "Cookie"]);
    const exchange = fakeExchange(client.cookie);
    const untouched = sessions.visit(exchange);
    await untouched.begin();
    await untouched.commit();
    expect([...exchange.headers]).toEqual([]);
  });

  it.each([
    ["public, max-age=60", true],
    ["max-age=0, s-maxage=60", true],
    ["private, max-age=60", false],
    ["no-cache", false],
    ["public, no-store", false],
  ])("are warned of once where the app's Cache-Control lets them keep the cookie: %s", async (caching, isWarned) => {
    const warnings = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    const sessions = createSessions({ secret });
    for (let time = 0; time < 2; time++) {
      const client = new Client(sessions);
      const exchange = await client.request((session, { exchange }) => {
        session.user = "ada";
        exchange.setHeader("cache-control", caching);
      });
      expect(exchange.headers.get("cache-control")).toBe(caching);
    }
    const codes = warnings.mock.calls.map(([, options]) => (options as { code?: string }).code);
    expect(codes.filter((code) => code === "HOLDFAST_COOKIE_CACHEABLE")).toHaveLength(isWarned ? 1 : 0);
  });
});
