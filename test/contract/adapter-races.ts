/** Rows of the adapter contract: several requests of one session at the same time. */
import { describe, expect, it } from "vitest";
import { deferred } from "../support/deferred.ts";
import type { AdapterDriver } from "./adapter.ts";
import { bench, dataOf, signedIn } from "./adapter-kit.ts";

/** Nothing is lost, and nothing comes back. */
export function raceRows(driver: AdapterDriver): void {
  describe("parallel requests", () => {
    parallelRows(driver);
    lateRows(driver);
  });
}

function parallelRows(driver: AdapterDriver): void {
  it("25 parallel requests that write keys of their own lose none", async () => {
    const app = await bench(driver);
    await signedIn(app);
    const numbers = Array.from({ length: 25 }, (_, index) => index);
    const answers = await Promise.all(numbers.map((n) => app.browser.get(`/set?key${n}=${n}`)));
    expect(answers.map((answer) => answer.status)).toEqual(numbers.map(() => 200));
    const expected = Object.fromEntries(numbers.map((n) => [`key${n}`, String(n)]));
    expect((await dataOf(app.browser)).data).toEqual({ user: "ada", ...expected });
  });

  it("50 parallel update() increments count to 50", async () => {
    const app = await bench(driver, {
      routes: {
        "/count": async ({ session }) => {
          const count = await session.update((data) => {
            data.count = Number(data.count ?? 0) + 1;
            return data.count;
          });
          return { json: { count } };
        },
      },
    });
    await signedIn(app);
    const answers = await Promise.all(Array.from({ length: 50 }, () => app.browser.get("/count")));
    expect(answers.map((answer) => answer.status)).toEqual(answers.map(() => 200));
    expect(new Set(answers.map((answer) => answer.json().count)).size).toBe(50);
    expect((await dataOf(app.browser)).data).toEqual({ user: "ada", count: 50 });
  });
}

function lateRows(driver: AdapterDriver): void {
  it("a write that comes after the logout is dropped: no cookie, no session, and a report", async () => {
    const entered = deferred();
    const proceed = deferred();
    const app = await bench(driver, {
      routes: {
        "/late": async ({ session }) => {
          entered.resolve();
          await proceed.promise;
          session.user = "back from the dead";
          return "late";
        },
      },
    });
    const { id, cookie } = await signedIn(app);
    const gone: string[] = [];
    app.sessions.on("gone", (event) => gone.push(event.id));
    const late = app.browser.at(app.url).get("/late");
    await entered.promise;
    await app.browser.get("/logout");
    proceed.resolve();
    const answer = await late;
    expect([answer.status, answer.setCookies]).toEqual([200, []]);
    expect(gone).toEqual([id]);
    expect(await app.sessions.get(id)).toBeUndefined();
    app.browser.cookies.set("sid", cookie);
    expect(await dataOf(app.browser)).toMatchObject({ data: {} });
  });

  it("a late request with the old cookie never overwrites the cookie of a new login", async () => {
    const app = await bench(driver, {
      routes: {
        "/login": async ({ session }) => {
          await session.regenerate();
          return "in";
        },
      },
    });
    await signedIn(app);
    const stale = app.browser.at(app.url);
    await app.browser.get("/login");
    const answer = await stale.get("/set?user=eve");
    expect([answer.status, answer.setCookies]).toEqual([200, []]);
  });
}
