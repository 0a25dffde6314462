/** The gate is invisible: whatever form an answer takes, its bytes are those of the same server without a gate. */
import { pipeline, Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import {
  exchangeBytes,
  type Handler,
  quietScripts,
  requestText,
  ScriptedVisit,
  serve,
  slowly,
} from "../support/gated-server.ts";

const forms: Record<string, Handler> = {
  "end()": (_request, response) => response.end(),
  "end(chunk)": (_request, response) => response.end("body"),
  "end(buffer)": (_request, response) => response.end(Buffer.from("body")),
  "end(chunk, encoding)": (_request, response) => response.end("f00d", "hex"),
  "end(chunk, callback)": (_request, response) => response.end("body", () => {}),
  "end(callback)": (_request, response) => response.end(() => {}),
  "end(empty string)": (_request, response) => response.end(""),
  "end(null)": (_request, response) => response.end(null),
  "statusCode, setHeader, end": (_request, response) => {
    response.statusCode = 404;
    response.statusMessage = "Nowhere";
    response.setHeader("X-One", ["a", "b"]);
    response.end("body");
  },
  "statusCode changed after end": (_request, response) => {
    response.end("body");
    response.statusCode = 500;
  },
  "writeHead(status), end": (_request, response) => response.writeHead(201).end("body"),
  "writeHead(status, message), end": (_request, response) => response.writeHead(201, "Made").end("body"),
  "writeHead(status, object), end": (_request, response) =>
    response.writeHead(201, { "X-One": "1", "x-two": ["a", "b"] }).end("body"),
  "writeHead(status, undefined, object), end": (_request, response) => {
    response.writeHead(201, undefined, { "X-One": "1" });
    response.end("body");
  },
  "writeHead(status, message, object), end": (_request, response) =>
    response.writeHead(201, "Made", { "X-One": "1" }).end("body"),
  "writeHead(status, raw array), end": (_request, response) =>
    response.writeHead(200, ["X-One", "1", "X-One", "2", "Set-Cookie", "a=1"]).end("body"),
  "writeHead(status, message, raw array), end": (_request, response) =>
    response.writeHead(200, "Fine", ["X-One", "1"]).end(),
  "writeHead over setHeader": (_request, response) => {
    response.setHeader("X-One", "before");
    response.writeHead(200, { "x-one": "after", "Content-Length": "4" }).end("body");
  },
  "writeHead(204)": (_request, response) => response.writeHead(204).end(),
  "writeHead(304)": (_request, response) => response.writeHead(304, { ETag: '"x"' }).end(),
  "write, end": (_request, response) => {
    response.write("one");
    response.end();
  },
  "write, write, end(chunk)": (_request, response) => {
    response.write("one");
    response.write(Buffer.from("two"), () => {});
    response.end("6468726565", "hex");
  },
  "write(chunk, encoding, callback), later end": async (_request, response) => {
    await new Promise((resolve) => response.write("6f6e65", "hex", resolve));
    response.end("two");
  },
  "flushHeaders, later body": async (_request, response) => {
    response.setHeader("X-One", "1");
    response.flushHeaders();
    await slowly();
    response.end("body");
  },
  "content-length set, write, end": (_request, response) => {
    response.setHeader("Content-Length", 6);
    response.write("one");
    response.end("two");
  },
  "corked writes": (_request, response) => {
    response.cork();
    response.write("one");
    response.write("two");
    response.uncork();
    response.write("three");
    response.end();
  },
  "cork after the first write": (_request, response) => {
    response.write("one");
    response.cork();
    response.write("two");
    response.write("three");
    process.nextTick(() => response.uncork());
    setImmediate(() => setImmediate(() => response.end()));
  },
  trailers: (request, response) => {
    // Node refuses them where the body is not chunked.
    if (request.httpVersion === "1.0" || request.method === "HEAD") return response.end();
    response.writeHead(200, { Trailer: "X-Sum" });
    response.write("body");
    response.addTrailers({ "X-Sum": "4" });
    return response.end();
  },
  "a piped stream": (_request, response) => Readable.from(["one", "two", "three"]).pipe(response),
  pipeline: (_request, response) => pipeline(Readable.from(["one", "two"]), response, () => {}),
  "writeContinue, writeProcessing, early hints": (_request, response) => {
    response.writeContinue();
    response.writeProcessing();
    response.writeEarlyHints({ link: "</a.css>; rel=preload; as=style" });
    response.end("body");
  },
};

const requests: Record<string, string> = {
  GET: requestText(),
  HEAD: requestText("/", { method: "HEAD" }),
  "HTTP/1.0": requestText("/", { version: "1.0" }),
  "GET on a kept connection, then another": requestText("/", { close: false }) + requestText(),
};

describe("the response gate leaves every byte as it was", () => {
  for (const [form, handler] of Object.entries(forms)) {
    it(form, async () => {
      const bare = await serve(handler);
      for (const [what, script] of Object.entries(quietScripts)) {
        const gated = await serve(handler, () => new ScriptedVisit(script));
        for (const [kind, request] of Object.entries(requests)) {
          const expected = await exchangeBytes(bare.port, request);
          expect(`${what}, ${kind}: ${await exchangeBytes(gated.port, request)}`).toBe(`${what}, ${kind}: ${expected}`);
        }
      }
    });
  }

  it("1xx responses pass while the final one is held", async () => {
    const handler: Handler = (_request, response) => {
      response.end("body");
      response.writeProcessing();
    };
    const gated = await serve(handler, () => new ScriptedVisit(() => slowly()));
    const bytes = await exchangeBytes(gated.port, requestText());
    expect(bytes).toMatch(/^HTTP\/1\.1 102 Processing\r\n\r\nHTTP\/1\.1 200 OK\r\n[\s\S]*body$/);
  });

  it("pipelined answers keep their order, whatever each save takes", async () => {
    const turns = [3, 1, 2];
    const gated = await serve(
      (request, response) => response.end(request.url),
      (request) =>
        new ScriptedVisit(async () => {
          for (let turn = 0; turn < (turns[Number(request.url?.slice(2))] ?? 0); turn++) await slowly();
        }),
    );
    const open = { close: false };
    const bytes = await exchangeBytes(
      gated.port,
      requestText("/r0", open) + requestText("/r1", open) + requestText("/r2"),
    );
    expect(bytes.match(/\/r\d/g)).toEqual(["/r0", "/r1", "/r2"]);
  });
});
