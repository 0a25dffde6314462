/**
 * `destroy()` of a response that is held, and of its connection: behind the answer that is held, as it would have been
 * without the gate. Whatever ends a connection by itself is not kept waiting.
 */
import { once } from "node:events";
import { Agent, createServer, get, type IncomingMessage, type ServerResponse } from "node:http";
import { connect as connect2, createServer as createServer2 } from "node:http2";
import { type AddressInfo, connect } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { ResponseGate } from "../../adapters/response-gate.ts";
import { deferred, until } from "../support/deferred.ts";
import { answerError, exchangeBytes, requestText, ScriptedVisit, serve, slowly } from "../support/gated-server.ts";
import { listen } from "../support/listen.ts";

type Act = (request: IncomingMessage, response: ServerResponse) => unknown;

/** An answer, and a cut right behind it. */
const cuts: Record<string, Act> = {
  "end(), socket.destroy()": (request, response) => {
    response.end("one");
    request.socket.destroy();
  },
  "end(), response.destroy()": (_request, response) => {
    response.end("one");
    response.destroy();
  },
  "write(), end(), socket.destroy() twice": (request, response) => {
    response.write("one ");
    response.end("two");
    request.socket.destroy();
    request.socket.destroy();
  },
  "write(), socket.destroy()": (request, response) => {
    response.write("half");
    request.socket.destroy();
  },
  "300 kB, socket.destroy()": (request, response) => {
    response.end("x".repeat(300_000));
    request.socket.destroy();
  },
};

async function getText(agent: Agent, url: string): Promise<string> {
  const [response] = (await once(get(url, { agent }), "response")) as [IncomingMessage]; // Node's own event
  let text = "";
  for await (const part of response) text += part;
  return text;
}

const saving = (): ScriptedVisit => new ScriptedVisit(({ commits }) => (commits === 1 ? slowly() : undefined));

describe("a held response whose connection is cut", () => {
  it.each(Object.entries(cuts))("%s: byte for byte what it would be without us", async (name, act) => {
    const [bare, gated] = [await serve(act), await serve(act, saving)];
    const [expected, bytes] = await Promise.all(
      [bare, gated].map(({ port }) => exchangeBytes(port, requestText("/", { close: false }))),
    );
    // Node corks a write without an end: without us, too, nothing of that has left by then.
    expect(expected).toMatch(name.startsWith("write(), socket") ? /^$/ : /^HTTP\/1\.1 200 OK/);
    expect(bytes).toBe(expected);
  });

  it("a connection that carried held responses before is cut at once where nothing is held", async () => {
    const gated = await serve(
      (request, response) => (request.url === "/cut" ? request.socket.destroy() : response.end("whole")),
      saving,
    );
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    for (let count = 0; count < 3; count++) expect(await getText(agent, `${gated.url}/`)).toBe("whole");
    await expect(getText(agent, `${gated.url}/cut`)).rejects.toThrow(/hang up|ECONNRESET/);
  });

  it("where the save fails, the error page is sent, then the connection is cut", async () => {
    const failing = new ScriptedVisit(async ({ commits }) => {
      if (commits > 1) return;
      await slowly();
      throw Object.assign(new Error("no store"), { status: 503 });
    });
    const gated = await serve(
      (request, response) => {
        response.end("one");
        request.socket.destroy();
      },
      () => failing,
      // An error page that takes its time.
      (error, response) => void slowly().then(() => answerError(error, response)),
    );
    const bytes = await exchangeBytes(gated.port, requestText("/", { close: false }));
    expect(bytes).toMatch(/^HTTP\/1\.1 503 .*sorry: no store$/s);
  });

  it("a destroy(error), and a client that goes away, are not kept waiting", async () => {
    const saved = deferred();
    const seen: string[] = [];
    const server = createServer((request, response) => {
      const visit = new ScriptedVisit(({ commits }) => (commits === 1 ? saved.promise : undefined));
      visit.gate = new ResponseGate(response, visit, () => {});
      response.on("close", () => seen.push(String(request.url)));
      response.end("never read");
      if (request.url === "/error") request.socket.destroy(new Error("broken"));
    });
    const { port, close } = await listen(server);
    onTestFinished(close);
    await exchangeBytes(port, requestText("/error", { close: false })).catch(() => {});
    const client = connect(port, "127.0.0.1", () => client.write(requestText("/gone", { close: false })));
    await once(server, "request");
    client.resetAndDestroy();
    await until(() => seen.length === 2, "both responses to be closed while they are held");
    expect(seen).toEqual(["/error", "/gone"]);
    saved.resolve();
  });

  it("HTTP/2: the stream's answer is whole, as without us", async () => {
    const texts: string[] = [];
    for (const isGated of [false, true]) {
      const server = createServer2((request, response) => {
        const visit = saving();
        if (isGated) visit.gate = new ResponseGate(response, visit, () => {});
        response.end("one");
        request.socket.destroy();
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const client = connect2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`); // a TCP server's
      onTestFinished(() => {
        client.destroy();
        server.close();
      });
      const stream = client.request({ ":path": "/" });
      let text = "";
      for await (const part of stream.setEncoding("utf8")) text += part;
      texts.push(`${text} ${stream.rstCode}`);
    }
    expect(texts).toEqual(["one 0", "one 0"]);
  });
});
