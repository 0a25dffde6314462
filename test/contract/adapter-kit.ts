/** What the rows of the adapter contract share: a running app with cleanup, a probed store, and routes used by many. */
import { onTestFinished } from "vitest";
import { createSessions, memoryStore, type SessionOptions, type Sessions } from "../../src/index.ts";
import { Browser } from "../support/browser.ts";
import { type ProbeStore, probeStore } from "../support/probe-store.ts";
import type { AdapterDriver, AppPlan, Route } from "./adapter.ts";

/** A signing key that is long enough. */
export const secret = "the adapter contract's signing key, 48 characters";

/** Routes that most rows need. */
export const commonRoutes: Readonly<Record<string, Route>> = {
  "/hello": () => "hello",
  "/data": ({ session }) => ({ json: { id: session.id, isNew: session.isNew, data: { ...session } } }),
  "/set": ({ session, query }) => {
    for (const [key, value] of query) session[key] = value;
    return { json: { id: session.id } };
  },
  "/logout": async ({ session }) => {
    await session.destroy();
    return "bye";
  },
};

/** One app under test. */
export interface Bench {
  readonly url: string;
  readonly sessions: Sessions;
  readonly store: ProbeStore;
  readonly browser: Browser;
}

/** What a row may set; the rest has defaults. */
export interface BenchPlan extends Partial<Omit<SessionOptions, "store">> {
  readonly routes?: Record<string, Route>;
  readonly onError?: NonNullable<AppPlan["onError"]>;
  /** Shared by several nodes; default: a memory store of its own. */
  readonly store?: ProbeStore;
}

/** Starts an app on an engine of its own; both end with the test. */
export async function bench(driver: AdapterDriver, plan: BenchPlan = {}): Promise<Bench> {
  const { routes, onError, store = probeStore(memoryStore()), ...options } = plan;
  const sessions = createSessions({ secret, store, ...options });
  const app = await driver.start({
    session: sessions,
    routes: { ...commonRoutes, ...routes },
    ...(onError ? { onError } : {}),
  });
  onTestFinished(async () => {
    await app.close();
    await sessions.close();
  });
  return { url: app.url, sessions, store, browser: new Browser(app.url) };
}

/** What `/data` answers. */
export interface DataAnswer {
  id: string;
  isNew: boolean;
  data: Record<string, unknown>;
}

/** The data of a browser's session, read through the app. */
export async function dataOf(browser: Browser): Promise<DataAnswer> {
  return (await browser.get("/data")).json<DataAnswer>();
}

/** A browser that has the session `{ user: "ada" }`; the store's counters start afresh. */
export async function signedIn({ browser, store }: Bench): Promise<{ id: string; cookie: string }> {
  const { id } = (await browser.get("/set?user=ada")).json<{ id: string }>();
  store.forget();
  return { id, cookie: browser.cookies.get("sid") ?? "" };
}
