/** Rows of the adapter contract: reading, changing and replacing the data. */
import { describe, expect, it } from "vitest";
import { Browser } from "../support/browser.ts";
import type { AdapterDriver } from "./adapter.ts";
import { bench, dataOf, signedIn } from "./adapter-kit.ts";

/** What a session does with its data. */
export function dataRows(driver: AdapterDriver): void {
  describe("data", () => {
    it("a request without a cookie that leaves the session alone costs no store call and sets no header", async () => {
      const { browser, store } = await bench(driver);
      const answer = await browser.get("/hello");
      expect(answer.text).toBe("hello");
      expect(answer.setCookies).toEqual([]);
      expect(answer.headers.get("vary")).toBeNull();
      expect(answer.headers.get("cache-control")).toBeNull();
      expect(store.count()).toBe(0);
    });

    it("reading an empty session stores nothing and sets no cookie", async () => {
      const { browser, store } = await bench(driver);
      const answer = await browser.get("/data");
      expect(answer.json()).toMatchObject({ isNew: true, data: {} });
      expect(answer.setCookies).toEqual([]);
      expect(store.count()).toBe(0);
    });

    it("a write stores the session with one call, and the next request reads it with one", async () => {
      const { browser, store } = await bench(driver);
      const written = await browser.get("/set?user=ada");
      expect(store.calls.map((call) => call.verb)).toEqual(["write"]);
      store.forget();
      const read = await dataOf(browser);
      expect(read).toEqual({ id: written.json().id, isNew: false, data: { user: "ada" } });
      expect(store.calls.map((call) => call.verb)).toEqual(["read"]);
    });

    it("the same value written again is no change", async () => {
      const app = await bench(driver);
      await signedIn(app);
      const answer = await app.browser.get("/set?user=ada");
      expect(answer.setCookies).toEqual([]);
      expect(app.store.calls.map((call) => call.verb)).toEqual(["read"]);
    });

    it("a changed session keeps its cookie: it is not sent again", async () => {
      const app = await bench(driver);
      await signedIn(app);
      const answer = await app.browser.get("/set?user=bob");
      expect(answer.setCookies).toEqual([]);
      expect(app.store.calls.map((call) => call.verb)).toEqual(["read", "write"]);
    });

    it("a change deep inside a value is saved", async () => {
      const { browser } = await bench(driver, {
        routes: {
          "/fill": ({ session }) => {
            session.cart = { items: [{ name: "tea", count: 1 }] };
            return "filled";
          },
          "/more": ({ session }) => {
            const cart = session.cart as { items: { count: number }[] }; // as "/fill" stored it
            for (const item of cart.items) item.count++;
            return "more";
          },
        },
      });
      await browser.get("/fill");
      await browser.get("/more");
      expect((await dataOf(browser)).data).toEqual({ cart: { items: [{ name: "tea", count: 2 }] } });
    });

    it("a deleted key is gone", async () => {
      const app = await bench(driver, {
        routes: {
          "/forget": ({ session }) => {
            delete session.user;
            return "forgotten";
          },
        },
      });
      await signedIn(app);
      await app.browser.get("/forget");
      expect((await dataOf(app.browser)).data).toEqual({});
    });

    it("assigning an object replaces the data, and keeps the session", async () => {
      const app = await bench(driver, {
        routes: {
          "/replace": (context) => {
            context.session = { theme: "dark" };
            return { json: { ...context.session } };
          },
        },
      });
      const { id } = await signedIn(app);
      expect((await app.browser.get("/replace")).json()).toEqual({ theme: "dark" });
      expect(await dataOf(app.browser)).toEqual({ id, isNew: false, data: { theme: "dark" } });
    });

    it("assigning anything but null and objects is an error with its code", async () => {
      const { browser } = await bench(driver, {
        routes: {
          "/assign": (context) => {
            context.session = "text";
            return "never";
          },
        },
        onError: (error) => ({ status: 500, body: (error as { code: string }).code }), // what a SessionError has
      });
      const answer = await browser.get("/assign");
      expect([answer.status, answer.text]).toEqual([500, "ERR_SESSION_ASSIGN"]);
    });

    it("save() tells what it came to", async () => {
      const app = await bench(driver, {
        routes: {
          "/outcomes": async ({ session, query }) => {
            const unchanged = await session.save();
            session.mine = 1;
            const saved = await session.save();
            await new Browser(app.url).get("/set?theirs=2", { headers: { cookie: query.get("cookie") ?? "" } });
            session.mine = 2;
            const merged = await session.save();
            await new Browser(app.url).get("/logout", { headers: { cookie: query.get("cookie") ?? "" } });
            session.mine = 3;
            const gone = await session.save();
            return { json: [unchanged, saved, merged, gone] };
          },
        },
      });
      await signedIn(app);
      const answer = await app.browser.get(`/outcomes?cookie=${encodeURIComponent(app.browser.cookieHeader ?? "")}`);
      expect(answer.json()).toEqual(["unchanged", "saved", "merged", "gone"]);
    });

    it("save() on an untouched new session stores it and sets its cookie", async () => {
      const { browser, store } = await bench(driver, {
        routes: {
          "/save": async ({ session }) => ({ json: { outcome: await session.save(), id: session.id } }),
        },
      });
      const answer = await browser.get("/save");
      expect(answer.setCookies).toHaveLength(1);
      expect(store.count("write")).toBe(1);
      expect(await dataOf(browser)).toMatchObject({ id: answer.json().id, isNew: false });
    });
  });
}
