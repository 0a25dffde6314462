/** Rows of the adapter contract: logout, login, lazy loading, `skip`. */
import { describe, expect, it } from "vitest";
import { peekSession, sessionOf } from "../../src/index.ts";
import { readSetCookie } from "../support/browser.ts";
import type { AdapterDriver } from "./adapter.ts";
import { bench, dataOf, signedIn } from "./adapter-kit.ts";

/** How a session begins, changes its id and ends. */
export function lifecycleRows(driver: AdapterDriver): void {
  describe("lifecycle", () => {
    logoutRows(driver);
    loginRows(driver);
    lazyRows(driver);
    skipRow(driver);
  });
}

function logoutRows(driver: AdapterDriver): void {
  const ways = {
    "destroy()": "/logout",
    "assigning null": "/null",
    "destroy() that nobody waits for": "/fire",
    "destroy(callback)": "/callback",
  };
  for (const [way, path] of Object.entries(ways)) {
    it(`${way} ends the session: record gone, cookie cleared, the old cookie is worth nothing`, async () => {
      const app = await bench(driver, {
        routes: {
          "/null": (context) => {
            context.session = null;
            return String(context.session);
          },
          "/fire": ({ session }) => {
            void session.destroy();
            return "bye";
          },
          "/callback": ({ session }) =>
            new Promise((resolve, reject) => {
              session.destroy((error) => (error ? reject(error) : resolve("bye")));
            }),
        },
      });
      const { id, cookie } = await signedIn(app);
      const answer = await app.browser.get(path);
      expect(answer.text).toBe(path === "/null" ? "null" : "bye");
      expect(answer.setCookies.map(readSetCookie)).toMatchObject([{ name: "sid", value: "", clears: true }]);
      expect(await app.sessions.get(id)).toBeUndefined();
      app.browser.cookies.set("sid", cookie);
      expect(await dataOf(app.browser)).toMatchObject({ isNew: true, data: {} });
    });
  }

  it("logging out without a session answers, and sets nothing", async () => {
    const { browser, store } = await bench(driver);
    const answer = await browser.get("/logout");
    expect([answer.status, answer.setCookies, store.count()]).toEqual([200, [], 0]);
  });
}

function loginRows(driver: AdapterDriver): void {
  it("renew() gives the same data a new id and cookie; the old cookie is worth nothing", async () => {
    const app = await bench(driver, {
      routes: {
        "/login": async ({ session }) => {
          session.role = "admin";
          await session.renew();
          return { json: { id: session.id } };
        },
      },
    });
    const { id, cookie } = await signedIn(app);
    const login = await app.browser.get("/login");
    expect(login.json().id).not.toBe(id);
    expect(login.setCookies).toHaveLength(1);
    expect(await dataOf(app.browser)).toEqual({
      id: login.json().id,
      isNew: false,
      data: { user: "ada", role: "admin" },
    });
    app.browser.cookies.set("sid", cookie);
    expect(await dataOf(app.browser)).toMatchObject({ isNew: true, data: {} });
  });

  it("regenerate() begins an empty session under a new id, readable at once under the property", async () => {
    const app = await bench(driver, {
      routes: {
        "/login": async (context) => {
          await context.session.regenerate();
          const before = { ...context.session };
          context.session.user = "grace";
          return { json: { before, id: context.session.id } };
        },
      },
    });
    const { id, cookie } = await signedIn(app);
    const login = (await app.browser.get("/login")).json();
    expect(login.before).toEqual({});
    expect(login.id).not.toBe(id);
    expect(await dataOf(app.browser)).toEqual({ id: login.id, isNew: false, data: { user: "grace" } });
    app.browser.cookies.set("sid", cookie);
    expect(await dataOf(app.browser)).toMatchObject({ isNew: true, data: {} });
    expect(await app.sessions.get(id)).toBeUndefined();
  });
}

function lazyRows(driver: AdapterDriver): void {
  it("a lazy session that nobody loads costs no store call", async () => {
    const app = await bench(driver, { load: "lazy" });
    app.browser.cookies.set("sid", await cookieOf(driver, app.store));
    app.store.forget();
    expect((await app.browser.get("/hello")).text).toBe("hello");
    expect(app.store.count()).toBe(0);
  });

  it("a lazy session that is used before it is loaded is an error that names the cure", async () => {
    const app = await bench(driver, {
      load: "lazy",
      onError: (error) => ({ status: 500, body: String(error) }),
    });
    const answer = await app.browser.get("/data");
    expect(answer.status).toBe(500);
    expect(answer.text).toContain("await sessionOf(");
  });

  it("sessionOf() loads a lazy session; then the property reads it, and changes are saved", async () => {
    const app = await bench(driver, {
      load: "lazy",
      routes: {
        "/lazy": async (context) => {
          const peekedBefore = peekSession(context.target) !== undefined;
          const session = await sessionOf(context.target);
          const isSame = session === context.session && session === peekSession(context.target);
          const { user } = context.session;
          context.session.user = "bob";
          return { json: { peekedBefore, isSame, user } };
        },
      },
    });
    app.browser.cookies.set("sid", await cookieOf(driver, app.store));
    app.store.forget();
    const first = await app.browser.get("/lazy");
    expect(first.json()).toEqual({ peekedBefore: false, isSame: true, user: "ada" });
    expect(app.store.calls.map((call) => call.verb)).toEqual(["read", "write"]);
    expect((await app.browser.get("/lazy")).json()).toMatchObject({ user: "bob" });
  });
}

function skipRow(driver: AdapterDriver): void {
  it("a request that skip leaves out has no session, costs nothing, and its response is left alone", async () => {
    const app = await bench(driver, {
      skip: (request) => request.url?.startsWith("/assets") === true,
      routes: {
        "/assets": (context) => ({
          json: { session: String(context.session), peek: String(peekSession(context.target)) },
        }),
      },
    });
    await signedIn(app);
    const answer = await app.browser.get("/assets");
    expect(answer.json()).toEqual({ session: "undefined", peek: "undefined" });
    expect(answer.headers.get("vary")).toBeNull();
    expect(app.store.count()).toBe(0);
  });
}

/** The cookie of a session `{ user: "ada" }`, made by an eager node on the same store. */
async function cookieOf(driver: AdapterDriver, store: Parameters<typeof signedIn>[0]["store"]): Promise<string> {
  const eager = await bench(driver, { store });
  return (await signedIn(eager)).cookie;
}
