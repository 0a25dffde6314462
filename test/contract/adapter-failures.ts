/** Rows of the adapter contract: a store that fails, and values that can't be stored. */
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { peekSession } from "../../src/index.ts";
import { expectTook } from "../support/in-time.ts";
import type { AdapterDriver, Route } from "./adapter.ts";
import { bench, dataOf, signedIn } from "./adapter-kit.ts";

/** What the client sees when a session can't be loaded or saved. */
export function failureRows(driver: AdapterDriver): void {
  describe("failures", () => {
    failedSaveRows(driver);
    failedLoadRows(driver);
    valueRows(driver);
  });
}

const writing: Record<string, Route> = {
  "/json": ({ session }) => {
    session.user = "eve";
    return { json: { ok: true } };
  },
  "/text": async ({ session }) => {
    session.user = "eve";
    return "ok";
  },
  "/redirect": ({ session }) => {
    session.user = "eve";
    return { status: 302, headers: { Location: "/hello" } };
  },
  "/empty": ({ session }) => {
    session.user = "eve";
    return { status: 204 };
  },
  "/stream": ({ session }) => {
    session.user = "eve";
    return { status: 200, body: Readable.from(["o", "k"]) };
  },
  "/created": ({ session }) => {
    session.user = "eve";
    return { status: 201, headers: { "X-Made": "yes", "Content-Type": "text/html" }, body: "<p>ok" };
  },
};

function failedSaveRows(driver: AdapterDriver): void {
  for (const path of Object.keys(writing)) {
    it(`a save that fails makes ${path.slice(1)} a 503 with Retry-After, without a cookie`, async () => {
      const { browser, store } = await bench(driver, { routes: writing });
      store.failing.add("write");
      const answer = await browser.get(path);
      expect(answer.status).toBe(503);
      expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
      expect(answer.setCookies).toEqual([]);
      expect(answer.text).not.toMatch(/^(ok|\{"ok":true\}|<p>ok)$/);
    });
  }

  it("a save that fails leaves the stored session, the cookie and the next request as they were", async () => {
    const app = await bench(driver, { routes: writing });
    const { id } = await signedIn(app);
    app.store.failing.add("write");
    const answer = await app.browser.get("/json");
    expect([answer.status, answer.setCookies]).toEqual([503, []]);
    app.store.failing.clear();
    expect(await dataOf(app.browser)).toEqual({ id, isNew: false, data: { user: "ada" } });
  });

  it("a save that fails reaches the app's own error page, which can look at the session", async () => {
    const { browser, store } = await bench(driver, {
      routes: writing,
      onError: (error, { target }) => {
        const { status, code } = error as { status: number; code: string }; // a SessionError has both
        return { status, headers: { "X-Code": code }, body: `sorry, ${peekSession(target)?.user ?? "stranger"}` };
      },
    });
    store.failing.add("write");
    const answer = await browser.get("/json");
    expect([answer.status, answer.headers.get("x-code")]).toEqual([503, "ERR_SESSION_STORE"]);
    expect([answer.text, answer.setCookies]).toEqual(["sorry, eve", []]);
  });

  it("a logout that fails is a 503: it never looks done", async () => {
    const app = await bench(driver);
    const { id } = await signedIn(app);
    app.store.failing.add("remove");
    const answer = await app.browser.get("/logout");
    expect([answer.status, answer.setCookies]).toEqual([503, []]);
    app.store.failing.clear();
    expect(await dataOf(app.browser)).toMatchObject({ id, data: { user: "ada" } });
  });

  it("a store that does not answer costs storeTimeout and is a 503", async () => {
    const { browser, store } = await bench(driver, { routes: writing, storeTimeout: 100 });
    const door = store.hold("write");
    const startedAt = performance.now();
    const answer = await browser.get("/json");
    expect(answer.status).toBe(503);
    expectTook(performance.now() - startedAt, 1_000, "a 503");
    door.release();
  });
}

function failedLoadRows(driver: AdapterDriver): void {
  it("a load that fails is a 503 with Retry-After where the session is touched; the cookie stays", async () => {
    const app = await bench(driver);
    const { id } = await signedIn(app);
    app.store.failing.add("read");
    const answer = await app.browser.get("/data");
    expect([answer.status, answer.setCookies]).toEqual([503, []]);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    app.store.failing.clear();
    expect(await dataOf(app.browser)).toEqual({ id, isNew: false, data: { user: "ada" } });
  });

  it(`a load that fails ${driver.failsAtAccess ? "does not touch" : "fails also"} a route without the session`, async () => {
    const app = await bench(driver);
    await signedIn(app);
    app.store.failing.add("read");
    const answer = await app.browser.get("/hello");
    expect([answer.status, answer.setCookies]).toEqual([driver.failsAtAccess ? 200 : 503, []]);
  });

  it("a load that fails leaves error pages peekSession(), which never throws", async () => {
    const app = await bench(driver, {
      onError: (error, { target }) => {
        const { status, code } = error as { status: number; code: string }; // a SessionError has both
        return { status, body: `${code} ${String(peekSession(target))}` };
      },
    });
    await signedIn(app);
    app.store.failing.add("read");
    const { status, text } = await app.browser.get("/data");
    expect([status, text]).toEqual([503, "ERR_SESSION_STORE undefined"]);
  });

  it("requests without a cookie are served while the store is away", async () => {
    const { browser, store } = await bench(driver);
    store.failing.add("read");
    expect((await browser.get("/data")).json()).toMatchObject({ isNew: true });
  });
}

function valueRows(driver: AdapterDriver): void {
  const bad: Record<string, () => unknown> = {
    "a BigInt": () => 1n,
    "a Map": () => new Map(),
    "a function": () => () => {},
    NaN: () => Number.NaN,
    "a circular value": () => {
      const value: Record<string, unknown> = {};
      value.self = value;
      return value;
    },
    "a toJSON that throws": () => ({
      toJSON() {
        throw new Error("no");
      },
    }),
  };
  for (const [what, make] of Object.entries(bad)) {
    it(`${what} in the session fails the request with an error that names the key; nothing is half saved`, async () => {
      const app = await bench(driver, {
        routes: {
          "/bad": ({ session }) => {
            session.user = "eve";
            session.basket = make();
            return "ok";
          },
        },
        onError: (error) => {
          const { status, code, message } = error as Error & { status: number; code: string }; // a SessionError
          return { status, headers: { "X-Code": code }, body: message };
        },
      });
      await signedIn(app);
      const answer = await app.browser.get("/bad");
      expect([answer.status, answer.headers.get("x-code")]).toEqual([500, "ERR_SESSION_VALUE"]);
      expect(answer.text).toContain("basket");
      expect((await dataOf(app.browser)).data).toEqual({ user: "ada" });
    });
  }

  it("a data key with a member's name is refused with its code, never dropped in silence", async () => {
    const app = await bench(driver, {
      routes: {
        "/reserved": (context) => {
          context.session = { save: "me" };
          return "ok";
        },
      },
    });
    await signedIn(app);
    expect((await app.browser.get("/reserved")).status).toBe(500);
    expect((await dataOf(app.browser)).data).toEqual({ user: "ada" });
  });
}
