/** Who comes with a session, kept with it by `describe` and compared by `onAnomaly`. */
import { describe, expect, it, onTestFinished } from "vitest";
import {
  type Anomaly,
  type AnomalyDecision,
  createSessions,
  type Describe,
  memoryStore,
  SessionError,
  type SessionEvents,
  type SessionOptions,
} from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { Browser } from "../support/browser.ts";
import { Client, fakeExchange } from "../support/exchange.ts";
import { frameworks } from "../support/frameworks.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "a secret of at least thirty-two characters";

/** A session of Ada's on Firefox; `as` changes who comes with the next requests. */
async function setUp(options: Partial<SessionOptions> = {}) {
  const clock = manualClock();
  const store = probeStore(memoryStore({ clock: () => clock.now() }));
  let userAgent: string | undefined = "Firefox";
  const sessions = createSessions({
    secret,
    store,
    touchInterval: "10m",
    ttl: "8h",
    describe: (_request, { address }) => ({ ip: address, userAgent }),
    ...options,
  });
  const events: SessionEvents["anomaly"][] = [];
  sessions.on("anomaly", (event) => events.push(event));
  const client = new Client(sessions);
  await client.request(async (session) => {
    await session.renew();
    session.user = "ada";
  });
  const as = (browser: string | undefined): void => {
    userAgent = browser;
  };
  return { clock, store, sessions, client, events, as };
}

async function idOf(client: Client): Promise<string> {
  return (await client.arrive()).session.id;
}

describe("describe", () => {
  it("is kept with the session from its creation on, and changes with the next login only", async () => {
    const { client, sessions, as, store } = await setUp();
    const before = (await sessions.get(await idOf(client)))?.description;
    expect(before).toEqual({ ip: "192.0.2.1", userAgent: "Firefox" });
    as("Chrome");
    await client.request((session) => {
      session.theme = "dark";
    });
    expect((await sessions.get(await idOf(client)))?.description).toEqual(before);
    await client.request((session) => session.renew());
    expect((await sessions.get(await idOf(client)))?.description).toEqual({ ip: "192.0.2.1", userAgent: "Chrome" });
    store.forget();
    await client.request((session) => expect(session.user).toBe("ada"));
    expect(store.count("write")).toBe(0);
  });

  it("is asked at most once a request, and never for a request that makes no session", async () => {
    let asked = 0;
    const { sessions } = await setUp({ describe: () => ({ times: String(++asked) }) });
    asked = 0;
    const client = new Client(sessions);
    await client.request((session) => expect(session.user).toBeUndefined());
    expect(asked).toBe(0);
    await client.request(async (session) => {
      session.user = "ada";
      await session.save();
      await session.renew();
      session.theme = "dark";
    });
    expect(asked).toBe(1);
  });

  it("goes into a session that update() or regenerate() begins", async () => {
    const { sessions } = await setUp();
    const [one, two] = [new Client(sessions), new Client(sessions)];
    await one.request((session) => session.update((data) => Object.assign(data, { user: "ada" })));
    expect((await sessions.get(await idOf(one)))?.description).toMatchObject({ userAgent: "Firefox" });
    await two.request(async (session, request) => {
      session.user = "ada";
      await session.save();
      await session.regenerate();
      Object.assign(await request.visit.load(), { user: "grace" });
    });
    expect((await sessions.get(await idOf(two)))?.description).toMatchObject({ userAgent: "Firefox" });
  });

  it("is cut to a size that no header blows up, and leaves out what is undefined", async () => {
    const { sessions, as } = await setUp();
    const client = new Client(sessions);
    as("x".repeat(20_000));
    await client.request((session) => Object.assign(session, { user: "ada" }));
    expect((await sessions.get(await idOf(client)))?.description?.userAgent).toBe("x".repeat(256));
    as(undefined);
    await client.request((session) => session.renew());
    expect((await sessions.get(await idOf(client)))?.description).toEqual({ ip: "192.0.2.1" });
  });

  it.each([
    ["a string", () => "Firefox"],
    ["an array", () => ["Firefox"]],
    ["nothing", () => undefined],
    ["a field that is no string", () => ({ port: 80 })],
    ["too many fields", () => Object.fromEntries(Array.from({ length: 17 }, (_, at) => [`f${at}`, ""]))],
    [
      "an error",
      () => {
        throw new Error("no user agent");
      },
    ],
  ])("that gives %s fails the request that would store it", async (_what, wrong) => {
    // Wrong on purpose.
    const broken = createSessions({ secret, describe: wrong as unknown as Describe });
    const idle = broken.visit(fakeExchange());
    await idle.load();
    await idle.commit();
    const exchange = fakeExchange();
    const visit = broken.visit(exchange);
    Object.assign(await visit.load(), { user: "ada" });
    await expect(visit.commit()).rejects.toMatchObject({ code: "ERR_SESSION_DESCRIBE", status: 500 });
    expect(exchange.setCookies).toEqual([]);
  });
});

describe("onAnomaly", () => {
  const asked: Anomaly[] = [];
  const deciding = (decision: AnomalyDecision): Partial<SessionOptions> => ({
    onAnomaly: (anomaly) => {
      asked.push(anomaly);
      return decision;
    },
  });

  it("[CS anomalies] is told which fields changed, and the event names them without values", async () => {
    asked.length = 0;
    const { client, events, as } = await setUp(deciding("allow"));
    const id = await idOf(client);
    expect(asked).toEqual([]);
    as("curl");
    await client.request((session) => expect(session.user).toBe("ada"));
    expect(asked).toEqual([
      {
        id,
        before: { ip: "192.0.2.1", userAgent: "Firefox" },
        now: { ip: "192.0.2.1", userAgent: "curl" },
        changed: ["userAgent"],
      },
    ]);
    expect(events).toEqual([{ id, changed: ["userAgent"], decision: "allow" }]);
    await client.request((session) => expect(session.user).toBe("ada"));
    expect(asked).toHaveLength(2);
  });

  it("that accepts stores the new description, once, and asks no more", async () => {
    asked.length = 0;
    const { client, sessions, as, store } = await setUp(deciding("accept"));
    as("Firefox 2");
    store.forget();
    await client.request((session) => {
      expect(session.user).toBe("ada");
      session.theme = "dark";
    });
    await client.request((session) => expect(session.theme).toBe("dark"));
    expect(asked).toHaveLength(1);
    expect(store.count("write")).toBe(2);
    expect((await sessions.get(await idOf(client)))?.description).toMatchObject({ userAgent: "Firefox 2" });
  });

  it("that distrusts makes the login count for nothing in this request, and for the user it goes on counting", async () => {
    const { client, as } = await setUp(deciding("distrust"));
    const thief = client.twin();
    as("curl");
    await thief.request((session) => {
      expect(session.user).toBe("ada");
      expect(session.authenticatedAt).toBeNull();
      session.note = "hello";
    });
    as("Firefox");
    await client.request((session) => {
      expect(session.note).toBe("hello");
      expect(session.authenticatedAt).not.toBeNull();
    });
  });

  it("that distrusts trusts the next login, and the new description", async () => {
    const { clock, client, as } = await setUp(deciding("distrust"));
    as("Firefox 2");
    clock.advance(1000);
    await client.request(async (session) => {
      expect(session.authenticatedAt).toBeNull();
      await session.renew();
      expect(session.authenticatedAt).toBe(clock.now());
    });
    await client.request((session) => expect(session.authenticatedAt).toBe(clock.now()));
  });

  it("that ends it ends it for everybody, before the app sees it", async () => {
    const { client, sessions, as } = await setUp(deciding("end"));
    const id = await idOf(client);
    const destroyed: unknown[] = [];
    sessions.on("destroyed", (event) => destroyed.push(event));
    as("curl");
    await client.twin().request((session) => expect(session.user).toBeUndefined());
    expect(destroyed).toEqual([{ id, reason: "revoked" }]);
    as("Firefox");
    await client.request((session) => expect(session.user).toBeUndefined());
  });

  it("that is asynchronous is waited for, and asked where no route looks at the session, too", async () => {
    const { client, sessions, as } = await setUp({ onAnomaly: () => Promise.resolve("end") });
    const id = await idOf(client);
    as("curl");
    const visit = sessions.visit(fakeExchange(client.cookie));
    await visit.begin();
    await visit.commit();
    expect(await sessions.get(id)).toBeUndefined();
  });

  it.each([
    ["throws", () => Promise.reject(new Error("out of order"))],
    ["answers something else", () => "perhaps"],
  ])("that %s lets nobody through, not even with onStoreError: anonymous", async (_what, wrong) => {
    // Wrong on purpose.
    const onAnomaly = wrong as unknown as () => AnomalyDecision;
    const { client, as } = await setUp({ onAnomaly, onStoreError: "anonymous" });
    as("curl");
    const error = await client.arrive().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(SessionError);
    expect(error).toMatchObject({ code: "ERR_SESSION_DESCRIBE", status: 500 });
  });

  it("leaves alone a session that was made before there was a description", async () => {
    const { client, store } = await setUp({ describe: () => ({}) });
    const earlier = createSessions({ secret, store });
    const old = new Client(earlier);
    await old.request((session) => Object.assign(session, { user: "grace" }));
    const sessions = createSessions({ secret, store, describe: () => ({ a: "b" }), onAnomaly: () => "end" });
    await new Client(sessions, old.cookie).request((session) => expect(session.user).toBe("grace"));
    expect(client.cookie).toBeDefined();
  });

  it.each(frameworks)(
    "ends a stolen session in $name, and the user agent of a real request tells",
    async (framework) => {
      const store = memoryStore();
      const sessions = createSessions({
        secret,
        store,
        describe: ({ headers }, { address }) => ({ ip: address, userAgent: headers["user-agent"] }),
        onAnomaly: ({ changed }) => (changed.includes("userAgent") ? "end" : "allow"),
      });
      const app = await framework.start(sessions, {
        "/login": ({ session }) => session.renew().then(() => Object.assign(session, { user: "ada" }) && "in"),
        "/me": ({ session }) => ({ user: session.user ?? null }),
      });
      onTestFinished(() => app.close());
      const browser = new Browser(app.url);
      const firefox = { headers: { "user-agent": "Firefox" } };
      await browser.get("/login", firefox);
      expect((await browser.get("/me", firefox)).json()).toEqual({ user: "ada" });
      const thief = browser.at(app.url);
      expect((await thief.get("/me", { headers: { "user-agent": "curl" } })).json()).toEqual({ user: null });
      expect((await browser.get("/me", firefox)).json()).toEqual({ user: null });
    },
  );
});
