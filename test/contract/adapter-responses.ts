/** Rows of the adapter contract: whatever the response looks like, the session is saved before it leaves. */
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { peekSession } from "../../src/index.ts";
import { deferred, until } from "../support/deferred.ts";
import type { AdapterDriver, Route } from "./adapter.ts";
import { bench, dataOf, signedIn } from "./adapter-kit.ts";

const shapes: Record<string, Route> = {
  "/204": () => ({ status: 204 }),
  "/304": () => ({ status: 304 }),
  "/404": () => ({ status: 404, body: "nothing here" }),
  "/500": () => ({ status: 500, body: "a page of the app's own" }),
  "/302": () => ({ status: 302, headers: { Location: "/hello" } }),
  "/stream": () => ({ status: 200, body: Readable.from(["one ", "two ", "three"]) }),
  "/json": () => ({ json: { big: "x".repeat(100_000) } }),
};

/** The shapes of responses, streams, errors and aborts. */
export function responseRows(driver: AdapterDriver): void {
  describe("responses", () => {
    shapeRows(driver);
    errorRows(driver);
    orderRows(driver);
    streamRows(driver);
    abortRows(driver);
  });
}

function shapeRows(driver: AdapterDriver): void {
  const routes = Object.fromEntries(
    Object.entries(shapes).map(([path, route]): [string, Route] => [
      path,
      async (context) => {
        context.session.seen = path;
        return route(context);
      },
    ]),
  );
  for (const path of Object.keys(shapes)) {
    for (const method of ["GET", "HEAD"]) {
      it(`${method} ${path.slice(1)}: a new session is stored and its cookie set`, async () => {
        const { browser } = await bench(driver, { routes });
        const answer = await browser.get(path, { method });
        expect(answer.status).toBe(Number(path.slice(1)) || 200);
        expect(answer.setCookies).toHaveLength(1);
        expect((await dataOf(browser)).data).toEqual({ seen: path });
      });
    }
  }
}

function errorRows(driver: AdapterDriver): void {
  const routes: Record<string, Route> = {
    "/sync": ({ session }) => {
      session.tried = "sync";
      throw new Error("the route's own error");
    },
    "/async": async ({ session }) => {
      session.tried = "async";
      await Promise.resolve();
      throw new Error("the route's own error");
    },
  };
  for (const kind of ["sync", "async"]) {
    it(`a route that throws (${kind}) after a write: saved, the cookie kept, on the framework's error page`, async () => {
      const { browser } = await bench(driver, { routes });
      const answer = await browser.get(`/${kind}`);
      expect(answer.status).toBe(500);
      expect(answer.setCookies).toHaveLength(1);
      expect((await dataOf(browser)).data).toEqual({ tried: kind });
    });

    it(`a route that throws (${kind}) after a write: the app's own error page has the session`, async () => {
      const { browser } = await bench(driver, {
        routes,
        onError: (_error, { target }) => ({ status: 418, body: JSON.stringify(peekSession(target)) }),
      });
      const answer = await browser.get(`/${kind}`);
      expect([answer.status, answer.text]).toEqual([418, `{"tried":"${kind}"}`]);
      expect(answer.setCookies).toHaveLength(1);
      expect((await dataOf(browser)).data).toEqual({ tried: kind });
    });
  }
}

function orderRows(driver: AdapterDriver): void {
  it("a redirect never overtakes its save: on another node the data is there when the headers arrive", async () => {
    const slow = await bench(driver, {
      routes: {
        "/go": ({ session, query }) => {
          session.round = query.get("round");
          return { status: 302, headers: { Location: "/data" } };
        },
      },
    });
    const other = await bench(driver, { store: slow.store });
    slow.store.delayMs.write = 15;
    for (let round = 0; round < 10; round++) {
      const redirect = await slow.browser.open(`/go?round=${round}`);
      const { data } = await dataOf(slow.browser.at(other.url));
      expect([redirect.status, data]).toEqual([302, { round: String(round) }]);
      await redirect.arrayBuffer();
    }
  });

  it("no byte of the response leaves while the save is under way", async () => {
    const { browser, store } = await bench(driver, {
      routes: {
        "/slow": ({ session }) => {
          session.user = "ada";
          return { status: 200, body: Readable.from(["first", "second"]) };
        },
      },
    });
    const door = store.hold("write");
    let isHere = false;
    const response = browser.open("/slow").then((opened) => {
      isHere = true;
      return opened.text();
    });
    await door.reached;
    // A whole round trip on another connection: time enough for a head that was not held.
    await browser.get("/hello");
    expect(isHere).toBe(false);
    door.release();
    expect(await response).toBe("firstsecond");
  });
}

function streamRows(driver: AdapterDriver): void {
  it("a change made while the stream flows is saved when it ends", async () => {
    const proceed = deferred();
    const app = await bench(driver, {
      routes: {
        "/events": (context) => {
          async function* events(): AsyncGenerator<string> {
            yield "open\n";
            await proceed.promise;
            context.session.seen = 2;
            yield "done\n";
          }
          return { status: 200, headers: { "Content-Type": "text/plain" }, body: Readable.from(events()) };
        },
      },
    });
    const { id } = await signedIn(app);
    const response = await app.browser.open("/events");
    proceed.resolve();
    expect(await response.text()).toBe("open\ndone\n");
    await until(async () => (await app.sessions.get(id))?.data.seen === 2, "the late change in the store");
  });

  it("a first write while the stream flows is reported: its cookie can't be set any more", async () => {
    const proceed = deferred();
    const app = await bench(driver, {
      routes: {
        "/events": (context) => {
          async function* events(): AsyncGenerator<string> {
            yield "open\n";
            await proceed.promise;
            context.session.seen = 1;
            yield "done\n";
          }
          return { status: 200, headers: { "Content-Type": "text/plain" }, body: Readable.from(events()) };
        },
      },
    });
    const skipped: string[] = [];
    app.sessions.on("cookieSkipped", ({ reason }) => skipped.push(reason));
    const response = await app.browser.open("/events");
    expect(response.headers.getSetCookie()).toEqual([]);
    proceed.resolve();
    await response.text();
    await until(() => skipped.length > 0, "the report");
    expect(skipped).toEqual(["headers-sent"]);
  });
}

function abortRows(driver: AdapterDriver): void {
  it("a client that goes away before the answer: what the route writes afterwards is saved", async () => {
    const entered = deferred();
    const proceed = deferred();
    const app = await bench(driver, {
      routes: {
        "/work": async (context) => {
          entered.resolve();
          await proceed.promise;
          context.session.done = true;
          return "nobody reads this";
        },
      },
    });
    const { id } = await signedIn(app);
    const client = new AbortController();
    const response = app.browser.get("/work", { signal: client.signal }).catch((error: Error) => error.name);
    await entered.promise;
    client.abort();
    expect(await response).toBe("AbortError");
    // The server has noticed by the time that it answers a request on a new connection.
    await app.browser.get("/hello");
    proceed.resolve();
    await until(async () => (await app.sessions.get(id))?.data.done === true, "the write in the store");
  });

  it("a client that goes away in the middle of a stream: what was written before and after is saved", async () => {
    const proceed = deferred();
    const app = await bench(driver, {
      routes: {
        "/events": (context) => {
          context.session.before = true;
          async function* events(): AsyncGenerator<string> {
            yield "open\n";
            context.session.after = true;
            await proceed.promise;
            yield "never read\n";
          }
          return { status: 200, headers: { "Content-Type": "text/plain" }, body: Readable.from(events()) };
        },
      },
    });
    const { id } = await signedIn(app);
    const client = new AbortController();
    const response = await app.browser.open("/events", { signal: client.signal });
    await response.body?.getReader().read();
    client.abort();
    await until(async () => (await app.sessions.get(id))?.data.after === true, "the late write in the store");
    expect((await app.sessions.get(id))?.data).toEqual({ user: "ada", before: true, after: true });
    proceed.resolve();
  });
}
