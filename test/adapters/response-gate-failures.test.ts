/** A failed save behind the gate: whatever form the answer took, it is dropped and the error page goes out instead. */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { ResponseGate } from "../../adapters/response-gate.ts";
import { deferred, until } from "../support/deferred.ts";
import {
  answerError,
  exchangeBytes,
  type Handler,
  requestText,
  ScriptedVisit,
  serve,
  slowly,
} from "../support/gated-server.ts";
import { compress } from "../support/wrapping-middleware.ts";

/** As the engine does: the first commit rejects, later ones have nothing to say. */
function failing(): ScriptedVisit {
  return new ScriptedVisit(async ({ commits, gate }) => {
    if (commits > 1) return;
    gate?.setHeader("set-cookie", ["sid=never"]);
    await slowly();
    throw Object.assign(new Error("no store"), { status: 503 });
  });
}

type Called = (error?: unknown) => void;

const forms: Record<string, (response: ServerResponse, called: Called) => unknown> = {
  "end()": (response) => response.end(),
  "end(chunk)": (response) => response.end("body"),
  "end(callback)": (response, called) => response.end(called),
  "end(chunk, callback)": (response, called) => response.end("body", called),
  "end(chunk, encoding, callback)": (response, called) => response.end("f00d", "hex", called),
  "writeHead, end": (response) =>
    response.writeHead(201, "Made", { "X-Dropped": "1", "Set-Cookie": "a=1" }).end("body"),
  "writeHead with a raw array, end": (response) => response.writeHead(200, ["X-Dropped", "1"]).end("body"),
  "write(chunk, callback), end": (response, called) => {
    response.write("one", called);
    response.end("two");
  },
  flushHeaders: (response) => response.flushHeaders(),
  "a body with its length": (response) => {
    response.setHeader("Content-Length", 5000);
    response.end("x".repeat(5000));
  },
  "a piped stream": (response) => Readable.from(["x".repeat(20_000), "y".repeat(20_000)]).pipe(response),
  "a redirect": (response) => response.writeHead(302, { Location: "/x", "X-Dropped": "1" }).end(),
};

describe("a save that fails", () => {
  for (const [form, act] of Object.entries(forms)) {
    it(`${form}: answered by the error page, once, with nothing of the dropped answer`, async () => {
      const errors: unknown[] = [];
      const calledBack: unknown[] = [];
      const takesCallback = form.includes("callback");
      const gated = await serve(
        (request, response) => {
          if (request.url === "/next") return response.end("next");
          response.setHeader("X-Kept", "1");
          return act(response, (error) => calledBack.push(error));
        },
        (request) => (request.url === "/next" ? new ScriptedVisit(() => undefined) : failing()),
        (error, response) => {
          errors.push(error);
          expect([response.headersSent, response.writableEnded, response.statusCode]).toEqual([false, false, 200]);
          answerError(error, response);
        },
      );
      // The next request on the connection shows that the answer was framed well.
      const bytes = await exchangeBytes(gated.port, requestText("/", { close: false }) + requestText("/next"));
      const [first = "", second = ""] = bytes.split(/(?<=.)(?=HTTP\/1\.1 )/s);
      expect(first).toMatch(
        /^HTTP\/1\.1 503 Service Unavailable\r\n[\s\S]*\r\n\r\n(f\r\n)?sorry: no store(\r\n(0\r\n\r\n)?)?$/,
      );
      expect(second).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nnext$/);
      expect(first).toContain("X-Kept: 1");
      expect(bytes).not.toMatch(/X-Dropped|set-cookie|5000/i);
      expect(errors).toHaveLength(1);
      expect(calledBack).toEqual(takesCallback ? [errors[0]] : []);
    });
  }

  it("a handler that writes and ends later, after the error page, changes nothing and crashes nothing", async () => {
    const done = deferred<unknown[]>();
    const gated = await serve(async (_request, response) => {
      const errors: unknown[] = [];
      response.write("one");
      await once(response, "finish");
      response.write("two", (error) => errors.push(error));
      response.flushHeaders();
      response.end("three", () => errors.push("ended"));
      response.end();
      setImmediate(() => done.resolve(errors));
    }, failing);
    expect(await exchangeBytes(gated.port, requestText())).toMatch(/\r\n\r\nsorry: no store$/);
    expect(await done.promise).toHaveLength(2);
  });

  it("a success is never what goes out, whatever the error page says", async () => {
    const pages: ((response: ServerResponse) => unknown)[] = [
      (response) => response.end("fine"),
      (response) => response.writeHead(200).end("fine"),
      (response) => response.writeHead(204).end(),
    ];
    for (const page of pages) {
      const gated = await serve(
        (_request, response) => response.end("body"),
        failing,
        (_error, response) => page(response),
      );
      expect(await exchangeBytes(gated.port, requestText())).toMatch(/^HTTP\/1\.1 503 /);
    }
    const redirecting = await serve(
      (_request, response) => response.end("body"),
      failing,
      (_error, response) => response.writeHead(302, { Location: "/busy" }).end(),
    );
    expect(await exchangeBytes(redirecting.port, requestText())).toMatch(/^HTTP\/1\.1 302 [\s\S]*Location: \/busy/);
  });

  it("a next() that throws the error back, or is nobody's, still ends the response", async () => {
    const gated = await serve(
      (_request, response) => response.end("body"),
      failing,
      (error) => {
        throw error;
      },
    );
    expect(await exchangeBytes(gated.port, requestText())).toMatch(/^HTTP\/1\.1 503 [\s\S]*\r\n\r\n$/);
  });

  it("an error page that is late is waited for, and the connection serves the next request", async () => {
    const gated = await serve(
      (_request, response) => response.end("body"),
      failing,
      async (error, response) => {
        await slowly();
        answerError(error, response);
      },
    );
    const bytes = await exchangeBytes(gated.port, requestText("/", { close: false }) + requestText());
    expect(bytes.match(/sorry: no store/g)).toHaveLength(2);
  });

  it("what commit throws at once is a failed save too", async () => {
    const visit = (): ScriptedVisit =>
      new ScriptedVisit(() => {
        throw new Error("a cookie function of the user's");
      });
    const gated = await serve((_request, response) => response.end("body"), visit);
    expect(await exchangeBytes(gated.port, requestText())).toMatch(/^HTTP\/1\.1 503 [\s\S]*cookie function/);
  });

  it("a client that has gone does not keep the error from the app", async () => {
    const arrived = deferred();
    const seen = deferred<unknown>();
    const proceed = deferred();
    const visit = new ScriptedVisit(async ({ commits }) => {
      if (commits > 1) return;
      await proceed.promise;
      throw new Error("no store");
    });
    const gated = await serve(
      (request, response) => {
        request.once("close", () => proceed.resolve());
        response.end("body");
        arrived.resolve();
      },
      () => visit,
      (error, response) => {
        seen.resolve(error);
        answerError(error, response);
      },
    );
    const client = new AbortController();
    const response = fetch(gated.url, { signal: client.signal }).catch(() => "gone");
    await arrived.promise;
    client.abort();
    expect(await response).toBe("gone");
    expect(await seen.promise).toMatchObject({ message: "no store" });
    await until(() => visit.finished === 1, "finish");
  });
});

describe("calls that Node refuses", () => {
  const wrong: Record<string, Handler> = {
    "a status that is none": (_request, response) => response.writeHead(9999).end(),
    "a header with a line break": (_request, response) => response.writeHead(200, { "X-One": "a\r\nb" }).end(),
    "a chunk that is none": (_request, response) => response.end({} as never), // what plain JavaScript can do
  };
  for (const [what, handler] of Object.entries(wrong)) {
    it(`${what}: the error goes to next() and the response ends`, async () => {
      const gated = await serve(
        handler,
        () => new ScriptedVisit(({ commits }) => (commits === 1 ? slowly() : undefined)),
      );
      expect(await exchangeBytes(gated.port, requestText())).toMatch(/^HTTP\/1\.1 503 [\s\S]*sorry: /);
    });
  }
});

describe("together with compression that was mounted after it", () => {
  it("the error page goes out plain: the compressed stream belongs to the dropped answer", async () => {
    const gated = await serve((_request, response) => {
      compress(response);
      response.end(Buffer.alloc(10_000, "x"));
    }, failing);
    const bytes = await exchangeBytes(gated.port, requestText());
    expect(bytes).toMatch(/^HTTP\/1\.1 503 [\s\S]*\r\n\r\nsorry: no store$/);
    expect(bytes).not.toMatch(/gzip/);
  });
});

describe("a stub of a web-socket server", () => {
  it("is never held: its handshake goes on in the same tick, and no error is thrown at it", async () => {
    const calls: string[] = [];
    const stub = {
      setHeader: (name: string) => calls.push(`set ${name}`),
      getHeader: () => undefined,
      removeHeader: () => {},
      write: () => {},
      writeHead: () => calls.push("writeHead"),
      end: () => {},
    };
    const visit = failing();
    const errors: unknown[] = [];
    visit.gate = new ResponseGate(stub, visit, (error) => errors.push(error));
    stub.writeHead();
    expect(calls).toEqual(["set set-cookie", "writeHead"]);
    expect(visit.gate.headersSent).toBe(true);
    await until(() => visit.finished === 1, "finish");
    expect(errors).toEqual([]);
  });
});
