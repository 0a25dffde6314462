/** The examples about users' sessions: the page in every framework, and what the audit log says. */
import { describe, expect, it, onTestFinished } from "vitest";
import { start } from "../../examples/audit-log.js";
import { devicesOf, sessionOptions } from "../../examples/devices.js";
import { createSessions, type ListedSession, type SessionData, type UserSession } from "../../src/index.ts";
import { Browser } from "../support/browser.ts";
import { type Framework, frameworks, type Routes } from "../support/frameworks.ts";
import { opened } from "./example.ts";

/** The example's page behind any framework. */
async function page(framework: Framework): Promise<() => Promise<Browser>> {
  // The example's own type of data is that of all examples.
  const options = sessionOptions() as Parameters<typeof createSessions>[0];
  const sessions = createSessions(options);
  const devices = devicesOf(sessions);
  const mine = (session: unknown): UserSession & SessionData => session as UserSession; // the adapter's own
  const routes: Routes = {
    "/login": ({ session, query }) => {
      session["user"] = query.get("user");
      return { user: session["user"] };
    },
    "/devices": async ({ session }) => devices.list(mine(session)),
    "/end": async ({ session, query }) => ({ ended: await devices.end(mine(session), String(query.get("id"))) }),
    "/others": ({ session }) => devices.endOthers(mine(session)),
    "/whoami": ({ session }) => ({ user: session["user"] ?? null }),
  };
  const app = await framework.start(sessions, routes);
  onTestFinished(async () => {
    await app.close();
    await sessions.close();
  });
  return async () => {
    const browser = new Browser(app.url);
    await browser.get("/login?user=ada");
    return browser;
  };
}

const listOf = async (browser: Browser): Promise<ListedSession[]> => (await browser.get("/devices")).json();
const userAt = async (browser: Browser): Promise<unknown> =>
  (await browser.get("/whoami")).json<{ user: unknown }>().user;

describe.each(frameworks.map((framework) => [framework.name, framework] as const))(
  "your devices in %s",
  (_, framework) => {
    it("are listed, ended one by one or all but this one, and at most three", async () => {
      const browser = await page(framework);
      const [laptop, phone] = [await browser(), await browser()];
      const listed = await listOf(laptop);
      expect(listed.map(({ isCurrent }) => isCurrent).sort()).toEqual([false, true]);
      expect(listed.map(({ meta }) => meta?.["ip"])).toEqual(["127.0.0.1", "127.0.0.1"]);
      const other = listed.find(({ isCurrent }) => !isCurrent);
      expect((await laptop.get(`/end?id=${other?.id}`)).json()).toEqual({ ended: true });
      expect(await userAt(phone)).toBeNull();
      const more = [await browser(), await browser(), await browser()];
      expect(await userAt(laptop)).toBeNull();
      const [here, ...others] = more;
      expect((await here?.get("/others"))?.json()).toEqual({ ended: 2 });
      expect(here && (await userAt(here))).toBe("ada");
      for (const each of others) expect(await userAt(each)).toBeNull();
    });

    it("are nobody else's to end", async () => {
      const browser = await page(framework);
      const ada = await browser();
      const [first] = await listOf(ada);
      const bob = new Browser(ada.url);
      await bob.get("/login?user=bob");
      expect((await bob.get(`/end?id=${first?.id}`)).json()).toEqual({ ended: false });
      expect(await userAt(ada)).toBe("ada");
    });
  },
);

describe("the audit log", () => {
  it("has a line for each session that begins, gets another id and ends, with public ids and nothing else", async () => {
    const lines: string[] = [];
    const app = await opened(start(0, { write: (line: string) => void lines.push(line) }));
    onTestFinished(() => app.close());
    const browser = new Browser(app.url);
    const secrets: string[] = [];
    for (const path of ["/login?user=ada", "/login?user=grace", "/logout"]) {
      await browser.get(path, { method: "POST" });
      secrets.push(String(browser.cookies.get("sid")).slice(0, 20));
    }
    const entries = lines.map((line) => JSON.parse(line) as Record<string, string>);
    const [first, second] = [entries[0]?.["session"], entries[1]?.["session"]];
    expect(entries.map(({ msg, session, previous, reason }) => ({ msg, session, previous, reason }))).toEqual([
      { msg: "created", session: first, previous: undefined, reason: undefined },
      { msg: "renewed", session: second, previous: first, reason: undefined },
      { msg: "destroyed", session: second, previous: undefined, reason: "logout" },
    ]);
    for (const id of [first, second]) expect(id).toMatch(/^[\w-]{43}$/);
    for (const word of ["ada", "grace", ...secrets]) expect(lines.join("")).not.toContain(word);
  });
});
