/** The CSRF examples, with tokens: what another site can't do, and that a login ends the tokens from before. */
import { describe, expect, it, onTestFinished } from "vitest";
import * as csrfCsrf from "../../examples/csrf-csrf.js";
import * as csrfSync from "../../examples/csrf-sync.js";
import { opened } from "../examples/example.ts";
import { Browser } from "../support/browser.ts";

describe.each([
  ["csrf-sync", csrfSync],
  ["csrf-csrf", csrfCsrf],
])("%s", (name, { start }) => {
  it("[CSRF] lets nobody post without the session's own token, and a login begins with a new one", async () => {
    const app = await opened(start(0));
    onTestFinished(() => app.close());
    const [ada, eve] = [new Browser(app.url), new Browser(app.url)];
    const tokenOf = async (browser: Browser): Promise<string> => String((await browser.get("/token")).json().token);
    const post = async (path: string, token?: string): Promise<number> => {
      const headers: Record<string, string> = token === undefined ? {} : { "x-csrf-token": token };
      return (await ada.get(path, { method: "POST", headers })).status;
    };
    const before = await tokenOf(ada);
    expect(await post("/login")).toBe(403);
    expect(await post("/login", await tokenOf(eve))).toBe(403);
    expect(await post("/login", `${before}x`)).toBe(403);
    expect((await ada.get("/")).json()).toEqual({ user: null });
    expect(await post("/login", before)).toBe(200);
    expect((await ada.get("/")).json()).toEqual({ user: "ada" });
    // Whoever knew a token of the visitor's has none of the user's.
    expect(await post("/login", before)).toBe(403);
    const after = await tokenOf(ada);
    if (name === "csrf-csrf") {
      const id = ada.cookies.get("sid");
      expect(await post("/become-editor", after)).toBe(200);
      expect(ada.cookies.get("sid")).not.toBe(id);
    }
    expect(await post("/login", after)).toBe(200);
  });
});
