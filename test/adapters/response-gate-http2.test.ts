/** The gate on Node's HTTP/2 compatibility API, cleartext, with a real client. */
import { once } from "node:events";
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { describe, expect, it, onTestFinished } from "vitest";
import { ResponseGate } from "../../adapters/response-gate.ts";
import { ScriptedVisit, slowly } from "../support/gated-server.ts";

/** Serves every request behind a gate, and connects to it. */
async function open(
  handler: (request: Http2ServerRequest, response: Http2ServerResponse) => void,
  script: (visit: ScriptedVisit) => Promise<void> | undefined,
): Promise<ClientHttp2Session> {
  const server = createServer((request, response) => {
    const visit = new ScriptedVisit(script);
    visit.gate = new ResponseGate(response, visit, () => {
      response.statusCode = 503;
      response.end("sorry");
    });
    handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // a TCP server's
  const client = connect(`http://127.0.0.1:${port}`);
  onTestFinished(() => {
    client.destroy();
    server.close();
  });
  return client;
}

async function get(
  client: ClientHttp2Session,
  path: string,
): Promise<{ headers: Record<string, unknown>; text: string }> {
  const stream = client.request({ ":path": path });
  const [headers] = await once(stream, "response");
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part);
  return { headers, text: Buffer.concat(parts).toString() };
}

function answer({ url }: Http2ServerRequest, response: Http2ServerResponse): void {
  if (url === "/end") response.end("body");
  else if (url === "/head") response.writeHead(201, { "x-own": "1", "set-cookie": ["a=1"] }).end("body");
  else if (url === "/pipe") Readable.from(["bo", "dy"]).pipe(response);
  else {
    response.setHeader("x-own", "1");
    Reflect.get(response, "flushHeaders").call(response); // Node's types lack it
    response.end("body");
  }
}

const scripts = {
  held: ({ commits }: ScriptedVisit): Promise<void> | undefined => (commits === 1 ? slowly() : undefined),
  unheld: (): undefined => undefined,
};

describe("HTTP/2", () => {
  for (const [what, script] of Object.entries(scripts)) {
    it(`each form of an answer passes, ${what}`, async () => {
      const client = await open(answer, script);
      for (const path of ["/end", "/head", "/pipe", "/flush"]) {
        const { headers, text } = await get(client, path);
        expect([path, headers[":status"], text]).toEqual([path, path === "/head" ? 201 : 200, "body"]);
        expect(headers["x-own"]).toBe(path === "/head" || path === "/flush" ? "1" : undefined);
      }
    });
  }

  it("headers of the commit join those of the app", async () => {
    const client = await open(answer, async ({ gate }) => {
      await slowly();
      const earlier = gate?.getHeader("set-cookie") ?? [];
      gate?.setHeader("Set-Cookie", [...[earlier].flat().map(String), "sid=1"]);
    });
    expect((await get(client, "/head")).headers["set-cookie"]).toEqual(["a=1", "sid=1"]);
    expect((await get(client, "/end")).headers["set-cookie"]).toEqual(["sid=1"]);
  });

  it("a save that fails is answered by the error page alone", async () => {
    const client = await open(answer, ({ commits }) =>
      commits === 1 ? slowly().then(() => Promise.reject(new Error("no store"))) : undefined,
    );
    for (const path of ["/end", "/head", "/pipe", "/flush"]) {
      const { headers, text } = await get(client, path);
      expect([path, headers[":status"], headers["set-cookie"], text]).toEqual([path, 503, undefined, "sorry"]);
    }
  });

  it("a held response looks sent", async () => {
    const seen: unknown[] = [];
    const client = await open((_request, response) => {
      response.end("body");
      seen.push(response.headersSent, response.writableEnded);
      expect(() => response.setHeader("x-late", "1")).toThrow(
        expect.objectContaining({ code: "ERR_HTTP_HEADERS_SENT" }),
      );
    }, scripts.held);
    expect((await get(client, "/")).text).toBe("body");
    expect(seen).toEqual([true, true]);
  });
});
