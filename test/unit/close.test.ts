import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { session } from "../../adapters/express.ts";
import { createSessions, memoryStore, type SessionOptions, type Store } from "../../src/index.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { Browser } from "../support/browser.ts";
import { deferred } from "../support/deferred.ts";
import { Client, fakeExchange } from "../support/exchange.ts";
import { frameworks } from "../support/frameworks.ts";
import { listen } from "../support/listen.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "a secret of the tests of close(), long enough";

async function setUp(options: Partial<SessionOptions> = {}) {
  const memory = memoryStore();
  const ended = { isStoreClosed: false };
  const close = async () => {
    ended.isStoreClosed = true;
    await memory.close?.();
  };
  const store = probeStore({ ...verbsOf(memory), close });
  const sessions = createSessions({ secret, store, ...options });
  const { cookie } = await signIn(sessions, { user: "alice" });
  store.forget();
  const warnings = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  const closeWarnings = () => warnings.mock.calls.filter(([, options]) => Object(options).code === "HOLDFAST_CLOSE");
  return { store, ended, sessions, cookie, client: new Client(sessions, cookie), closeWarnings };
}

/** A request as an adapter drives it: `begin()` at arrival, `commit()` when the head leaves. */
async function begun(sessions: ReturnType<typeof createSessions>, cookie?: string) {
  const visit = sessions.visit(Object.assign(fakeExchange(cookie), { closed: false }));
  await visit.begin();
  const session = visit.session as object as Record<string, unknown>; // tests set whatever keys they like
  return { visit, session };
}

describe("close()", () => {
  it("waits for the requests that came before, whatever they still do, and stores what they changed", async () => {
    const { store, ended, sessions, cookie, closeWarnings } = await setUp();
    const [changing, reading, beginning] = await Promise.all([
      begun(sessions, cookie),
      begun(sessions, cookie),
      begun(sessions),
    ]);
    expect(sessions.health().inFlight).toBe(3);
    let isClosed = false;
    const closed = sessions.close().then(() => {
      isClosed = true;
    });
    reading.visit.commit();
    changing.session.color = "blue";
    await changing.visit.commit();
    expect(isClosed).toBe(false);
    beginning.session.user = "bob"; // a session that begins in a request that came in time
    await beginning.visit.commit();
    await closed;
    expect(store.count("write")).toBe(2);
    expect(ended.isStoreClosed).toBe(true);
    expect(closeWarnings()).toEqual([]);
  });

  it("begins no session for a request that comes later: a 503 with Retry-After; what there is goes on", async () => {
    const { store, sessions, cookie, client } = await setUp();
    const blocker = await begun(sessions, cookie);
    const closed = sessions.close();
    const visitor = new Client(sessions);
    await expect(visitor.request((session) => (session.user = "eve"))).rejects.toMatchObject({
      code: "ERR_SESSION_CLOSED",
      status: 503,
      headers: { "retry-after": "1" },
    });
    expect(visitor.cookie).toBeUndefined();
    expect(store.count("write")).toBe(0);
    await client.request((session) => {
      expect(session.user).toBe("alice");
      session.color = "green";
    });
    await client.request((session) => expect(session.color).toBe("green"));
    await client.request((session) => session.renew());
    // A visitor who writes nothing is served, too.
    expect((await new Client(sessions).request(() => {})).setCookies).toEqual([]);
    blocker.visit.commit();
    await closed;
    // The colour; the new id, and the end of the old one.
    expect(store.count("write")).toBe(3);
  });

  it("refuses regenerate() before it ends the session that there is: nobody is logged out by a deploy", async () => {
    const { sessions, cookie, client } = await setUp();
    const blocker = await begun(sessions, cookie);
    const closed = sessions.close();
    const request = await client.arrive();
    await expect(request.session.regenerate()).rejects.toMatchObject({ code: "ERR_SESSION_CLOSED" });
    await expect(request.visit.commit()).rejects.toMatchObject({ code: "ERR_SESSION_CLOSED" });
    await client.request((session) => expect(session.user).toBe("alice"));
    blocker.visit.commit();
    await closed;
  });

  it("waits no longer than its timeout for a request that does not end, and says so", async () => {
    const { ended, sessions, cookie, closeWarnings } = await setUp();
    await begun(sessions, cookie);
    const start = performance.now();
    await sessions.close({ timeout: 200 });
    expect(performance.now() - start).toBeGreaterThanOrEqual(195);
    expect(performance.now() - start).toBeLessThan(5000);
    expect(ended.isStoreClosed).toBe(true);
    expect(closeWarnings()).toHaveLength(1);
    expect(String(closeWarnings()[0]?.[0])).toContain("1 requests or saves");
  });

  it("waits no longer than its timeout for a store that does not close", async () => {
    const never = deferred<void>();
    const hanging = createSessions({ secret, store: { ...verbsOf(memoryStore()), close: () => never.promise } });
    const start = performance.now();
    await hanging.close({ timeout: 100 });
    expect(performance.now() - start).toBeLessThan(5000);
  });

  it("waits for a save that its request did not wait for, and for one of a web socket", async () => {
    const { store, sessions, cookie } = await setUp();
    const socketSession = await sessions.fromRequest({
      headers: { cookie },
      socket: {},
    } as unknown as IncomingMessage); // all that is read of an upgrade request
    Object.assign(socketSession, { drawn: 1 });
    const write = store.hold("write");
    const saved = socketSession.save();
    await write.reached;
    let isClosed = false;
    const closed = sessions.close().then(() => {
      isClosed = true;
    });
    await new Promise(setImmediate);
    expect(isClosed).toBe(false);
    write.release();
    await saved;
    await closed;
  });

  it("is done at once when nothing is under way, and once however often it is called", async () => {
    const { ended, sessions } = await setUp();
    const closed = sessions.close();
    expect(sessions.close({ timeout: 1 })).toBe(closed);
    await closed;
    expect(ended.isStoreClosed).toBe(true);
  });

  it("refuses a timeout that is none", async () => {
    const { sessions } = await setUp();
    expect(() => sessions.close({ timeout: -1 })).toThrow(/timeout.*-1/);
    await sessions.close();
  });

  it.each(frameworks.map((framework) => [framework.name, framework] as const))(
    "lets a slow request on %s end, and its answer counts",
    async (_, framework) => {
      const { store, ended, sessions, cookie } = await setUp();
      const arrived = deferred<void>();
      const go = deferred<void>();
      const app = await framework.start(sessions, {
        "/slow": async ({ session }) => {
          arrived.resolve();
          await go.promise;
          session.order = 42;
          return "done";
        },
      });
      onTestFinished(() => app.close());
      const browser = new Browser(app.url);
      const answer = browser.get("/slow", { headers: { cookie } });
      await arrived.promise;
      const closed = sessions.close();
      await new Promise(setImmediate);
      expect(ended.isStoreClosed).toBe(false);
      go.resolve();
      expect((await answer).status).toBe(200);
      await closed;
      expect(store.count("write")).toBe(1);
      expect(ended.isStoreClosed).toBe(true);
    },
  );

  it("waits for no handshake that was given a stub for its response", async () => {
    const { sessions, cookie, closeWarnings } = await setUp();
    const app = await listen(
      createServer().on("upgrade", (request, socket) => {
        const ignore = () => {};
        const stub = { writeHead: ignore, write: ignore, end: ignore, setHeader: ignore, getHeader: ignore };
        // As web-socket servers call middleware.
        session(sessions)(request, stub as unknown as ServerResponse, () => socket.end("HTTP/1.1 101 Welcome\r\n\r\n"));
      }),
    );
    const client = connect(app.port, "127.0.0.1");
    client.write(`GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\ncookie: ${cookie}\r\n\r\n`);
    await once(client, "data");
    client.destroy();
    expect(sessions.health().inFlight).toBe(0);
    await sessions.close();
    expect(closeWarnings()).toEqual([]);
    await app.close();
  });

  it("stores what a stream had changed when its connection was cut a moment before", async () => {
    const { store, sessions, cookie } = await setUp();
    const reached = deferred<void>();
    const app = await listen(
      createServer((request, response) => {
        session(sessions)(request, response, () => {
          response.writeHead(200).write("first");
          Object.assign(sessionIn(request), { seen: 1 });
          reached.resolve();
        });
      }),
    );
    const response = await fetch(app.url, { headers: { cookie } });
    await reached.promise;
    response.body?.cancel().catch(() => {});
    await app.close();
    await sessions.close();
    expect(store.count("write")).toBe(1);
  });
});

function sessionIn(request: IncomingMessage): object {
  return (request as IncomingMessage & { session: object }).session; // put there by the middleware
}

/** The four verbs and the clock of a store, for one whose `close` is another. */
function verbsOf(store: Store): Omit<Store, "close"> {
  return {
    read: store.read.bind(store),
    write: store.write.bind(store),
    touch: store.touch.bind(store),
    remove: store.remove.bind(store),
    now: store.now.bind(store),
  };
}
