/** Rows of the adapter contract: the cookie, and the headers that go with it. */
import { sign } from "cookie-signature";
import { describe, expect, it } from "vitest";
import { sessionOf } from "../../src/index.ts";
import { readSetCookie } from "../support/browser.ts";
import type { AdapterDriver, Route } from "./adapter.ts";
import { bench, dataOf, secret, signedIn } from "./adapter-kit.ts";

/** What the browser gets, and what becomes of what it sends. */
export function cookieRows(driver: AdapterDriver): void {
  describe("cookies", () => {
    headerRows(driver);
    lifetimeRows(driver);
    hostileRows(driver);
    doubledRows(driver);
    keyRotationRow(driver);
    routeRows(driver);
  });
}

function headerRows(driver: AdapterDriver): void {
  it("a new session's cookie is HttpOnly, Lax, for the whole site and the browser's session", async () => {
    const { browser } = await bench(driver);
    const answer = await browser.get("/set?user=ada");
    expect(answer.setCookies).toHaveLength(1);
    const { name, value, attributes } = readSetCookie(answer.setCookies[0] ?? "");
    expect(name).toBe("sid");
    expect(value).toMatch(/^[\w-]{32}\.[A-Za-z0-9+/]{43}$/);
    expect(attributes.toSorted()).toEqual(["HttpOnly", "Path=/", "SameSite=Lax"]);
  });

  it("secure: true sends a Secure __Host- cookie over plain HTTP too, as TLS may end before the node", async () => {
    const { browser } = await bench(driver, { cookie: { secure: true } });
    const { name, attributes } = readSetCookie((await browser.get("/set?user=ada")).setCookies[0] ?? "");
    expect(name).toBe("__Host-sid");
    expect(attributes).toContain("Secure");
  });

  it("a response that sets the cookie is no-store and varies by cookie", async () => {
    const { browser } = await bench(driver);
    const answer = await browser.get("/set?user=ada");
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("vary")?.toLowerCase()).toContain("cookie");
  });

  it("the app's own Cache-Control, Vary and Set-Cookie headers are kept", async () => {
    const { browser } = await bench(driver, {
      routes: {
        "/own": ({ session }) => {
          session.user = "ada";
          const headers = {
            "Cache-Control": "private, max-age=5",
            Vary: "Accept-Encoding",
            "Set-Cookie": "theme=dark",
          };
          return { headers, body: "own" };
        },
      },
    });
    const answer = await browser.get("/own");
    expect(answer.headers.get("cache-control")).toBe("private, max-age=5");
    expect(answer.headers.get("vary")).toMatch(/^Accept-Encoding, ?Cookie$/i);
    expect(answer.setCookies.map((line) => readSetCookie(line).name).toSorted()).toEqual(["sid", "theme"]);
  });

  it("a response made with the session varies by cookie, also when nothing changed", async () => {
    const app = await bench(driver);
    await signedIn(app);
    const answer = await app.browser.get("/data");
    expect(answer.headers.get("vary")?.toLowerCase()).toContain("cookie");
    expect(answer.headers.get("cache-control")).toBeNull();
    expect((await app.browser.get("/hello")).headers.get("vary")).toBeNull();
  });
}

function lifetimeRows(driver: AdapterDriver): void {
  it("remember me: session.cookie.maxAge gives this session a persistent cookie", async () => {
    const week = 7 * 24 * 3600;
    const app = await bench(driver, {
      routes: {
        "/remember": ({ session }) => {
          session.cookie.maxAge = week * 1000;
          return "remembered";
        },
      },
    });
    const { id } = await signedIn(app);
    const { attributes, value } = readSetCookie((await app.browser.get("/remember")).setCookies[0] ?? "");
    expect(attributes).toContain(`Max-Age=${week}`);
    expect(attributes.some((attribute) => attribute.startsWith("Expires="))).toBe(true);
    expect(value).not.toBe("");
    const snapshot = await app.sessions.get(id);
    expect((snapshot?.expiresAt ?? 0) - (snapshot?.touchedAt ?? 0)).toBe(week * 1000);
    expect((await app.browser.get("/data")).setCookies).toEqual([]);
  });
}

function hostileRows(driver: AdapterDriver): void {
  const forged = "A".repeat(32);
  const values: Record<string, string> = {
    empty: "",
    "an id without a signature": forged,
    "a wrong signature": `${forged}.${"B".repeat(43)}`,
    "another key's signature": sign(forged, "some other application's signing key"),
    "a signature cut short": sign(forged, secret).slice(0, -1),
    "a signature with padding": `${sign(forged, secret)}=`,
    "bad percent-encoding": "%E0%A4%A.%zz",
    "percent-encoded as a whole": encodeURIComponent(sign(forged, secret)).replaceAll(".", "%2E"),
    quoted: `"${sign(forged, secret)}"`,
    "signed but no id of ours": sign("../../etc/passwd", secret),
    oversized: `${"x".repeat(7000)}.${"B".repeat(43)}`,
    "a prototype's name": "__proto__",
    "raw bytes": "\xff\xfe\xfd.\xfc",
  };
  it("a forged, truncated, oversized or mis-encoded cookie is a new anonymous session and costs no store call", async () => {
    const { browser, store } = await bench(driver);
    for (const [what, value] of Object.entries(values)) {
      const answer = await browser.get("/data", { headers: { cookie: `sid=${value}` } });
      expect([what, answer.status]).toEqual([what, 200]);
      expect(answer.json()).toMatchObject({ isNew: true, data: {} });
      expect([what, answer.setCookies]).toEqual([what, []]);
    }
    expect(store.count()).toBe(0);
  });

  it("a signed id that is unknown costs one read, and is never adopted", async () => {
    const { browser, store } = await bench(driver);
    browser.cookies.set("sid", sign(forged, secret));
    await browser.get("/set?user=ada");
    expect(store.calls.map((call) => call.verb)).toEqual(["read", "write"]);
    expect(browser.cookies.get("sid")?.startsWith(forged)).toBe(false);
    expect(store.calls[1]?.key).not.toBe(store.calls[0]?.key);
  });
}

function doubledRows(driver: AdapterDriver): void {
  it("of doubled cookies the first that is signed and alive wins", async () => {
    const app = await bench(driver);
    const { id, cookie } = await signedIn(app);
    const other = await bench(driver, { store: app.store });
    await other.browser.get("/set?user=grace");
    const second = other.browser.cookies.get("sid");
    const dead = sign("D".repeat(32), secret);
    const header = `sid=forged; sid=${dead}; x=1; sid=${cookie}; sid=${second}`;
    const answer = await app.browser.get("/data", { headers: { cookie: header } });
    expect(answer.json()).toEqual({ id, isNew: false, data: { user: "ada" } });
  });

  it("at most four of doubled cookies are tried", async () => {
    const app = await bench(driver);
    const { cookie } = await signedIn(app);
    const dead = ["D", "E", "F", "G"].map((letter) => `sid=${sign(letter.repeat(32), secret)}`);
    const answer = await app.browser.get("/data", { headers: { cookie: `${dead.join("; ")}; sid=${cookie}` } });
    expect(answer.json()).toMatchObject({ isNew: true, data: {} });
    expect(app.store.count("read")).toBe(4);
  });
}

/** Nodes with routes of their own on one store. */
function routeRows(driver: AdapterDriver): void {
  it("the cookie carries the node's route; a node that is sent another's sends it again with its own, once", async () => {
    const first = await bench(driver, { route: "n1" });
    const { id, cookie } = await signedIn(first);
    expect(cookie).toMatch(/^[\w-]{32}\.[A-Za-z0-9+/]{43}\.n1$/);
    expect((await first.browser.get("/data")).setCookies).toEqual([]);
    const second = await bench(driver, { route: "n2", store: first.store });
    const browser = first.browser.at(second.url);
    const answer = await browser.get("/data");
    expect(answer.json()).toEqual({ id, isNew: false, data: { user: "ada" } });
    expect(answer.setCookies).toHaveLength(1);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(browser.cookies.get("sid")).toBe(cookie.replace(/n1$/, "n2"));
    for (const path of ["/data", "/set?more=1", "/hello"]) {
      expect((await browser.get(path)).setCookies).toEqual([]);
    }
    expect(first.store.calls.some(({ verb }) => verb === "remove")).toBe(false);
  });

  it("also where the route does not look at the session, and where the node that died wrote another kind of cookie", async () => {
    const plain = await bench(driver);
    const { id, cookie } = await signedIn(plain);
    const routed = await bench(driver, { route: "n2", store: plain.store });
    const browser = plain.browser.at(routed.url);
    expect((await browser.get("/hello")).setCookies).toHaveLength(1);
    expect(browser.cookies.get("sid")).toBe(`${cookie}.n2`);
    expect((await browser.get("/hello")).setCookies).toEqual([]);
    // Back on a node without a route: it leaves the cookie alone.
    const answer = await browser.at(plain.url).get("/data");
    expect(answer.json()).toMatchObject({ id, data: { user: "ada" } });
    expect(answer.setCookies).toEqual([]);
  });

  it('also with load: "lazy", as soon as a route asks for the session', async () => {
    const routes: Record<string, Route> = {
      "/lazy": async ({ target }) => ({ json: { id: (await sessionOf(target)).id } }),
    };
    const first = await bench(driver, { route: "n1" });
    const { id, cookie } = await signedIn(first);
    const lazy = await bench(driver, { route: "n2", load: "lazy", store: first.store, routes });
    const browser = first.browser.at(lazy.url);
    expect((await browser.get("/hello")).setCookies).toEqual([]);
    const answer = await browser.get("/lazy");
    expect(answer.json()).toEqual({ id });
    expect(answer.setCookies).toHaveLength(1);
    expect(browser.cookies.get("sid")).toBe(cookie.replace(/n1$/, "n2"));
    expect((await browser.get("/lazy")).setCookies).toEqual([]);
  });

  it("a route that nobody has, is endless or hostile costs nobody a session", async () => {
    const app = await bench(driver, { route: "n1" });
    const { id, cookie } = await signedIn(app);
    const signed = cookie.slice(0, -"n1".length);
    for (const route of ["", ".", "n9", "n1.n1", "N1", "n".repeat(7000), "%0d%0ax", "<b>", "__proto__", '"', "\xff"]) {
      const answer = await app.browser.get("/data", { headers: { cookie: `sid=${signed}${route}` } });
      expect([route, answer.status]).toEqual([route, 200]);
      expect(answer.json()).toEqual({ id, isNew: false, data: { user: "ada" } });
      expect(answer.setCookies.map((line) => readSetCookie(line).value)).toEqual([cookie]);
    }
  });

  it("a login and a logout keep to the node's route", async () => {
    const app = await bench(driver, {
      route: "n1",
      routes: {
        "/login": async ({ session }) => {
          await session.renew();
          return "welcome";
        },
      },
    });
    const { cookie } = await signedIn(app);
    await app.browser.get("/login");
    expect(app.browser.cookies.get("sid")).toMatch(/\.n1$/);
    expect(app.browser.cookies.get("sid")).not.toBe(cookie);
    await app.browser.get("/logout");
    expect(app.browser.cookies.has("sid")).toBe(false);
  });
}

function keyRotationRow(driver: AdapterDriver): void {
  it("a cookie signed by an older key is accepted, and sent again under the newest", async () => {
    const old = await bench(driver);
    const { id, cookie } = await signedIn(old);
    const newest = "the key that replaced it, also long enough for this";
    const rotated = await bench(driver, { store: old.store, secret: [newest, secret] });
    const browser = old.browser.at(rotated.url);
    const answer = await browser.get("/data");
    expect(answer.json()).toEqual({ id, isNew: false, data: { user: "ada" } });
    expect(answer.setCookies).toHaveLength(1);
    expect(browser.cookies.get("sid")).not.toBe(cookie);
    const onlyNew = await bench(driver, { store: old.store, secret: newest });
    expect(await dataOf(browser.at(onlyNew.url))).toMatchObject({ id, data: { user: "ada" } });
    expect((await browser.get("/data")).setCookies).toEqual([]);
  });
}
