/** A plain Node server whose responses may pass a gate, with a visit that is under the test's thumb, and raw requests. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { onTestFinished } from "vitest";
import type { GateVisit } from "../../adapters/gated-response.ts";
import { ResponseGate } from "../../adapters/response-gate.ts";
import { listen, type RunningApp } from "./listen.ts";

/** Answers a request. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => unknown;

/** A visit whose commits do what the test says; the gate is the unit under test, the engine has its own. */
export class ScriptedVisit implements GateVisit {
  commits = 0;
  /** The arguments of each `finish`. */
  finished = 0;

  /** `script` is what `commit` does, called with the gate once there is one. */
  constructor(readonly script: (visit: ScriptedVisit) => Promise<void> | undefined) {}

  gate: ResponseGate | undefined;

  commit(): Promise<void> | undefined {
    this.commits++;
    return this.script(this);
  }

  finish(): undefined {
    this.finished++;
  }
}

/** A commit that takes a few turns of the event loop. */
export async function slowly(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** The ways to commit that change no response. */
export const quietScripts: Record<string, (visit: ScriptedVisit) => Promise<void> | undefined> = {
  "nothing to save": () => undefined,
  "a save": (visit) => (visit.commits === 1 ? slowly() : undefined),
  "a save in the same tick": (visit) => (visit.commits === 1 ? Promise.resolve() : undefined),
};

/** Runs `handler`, behind a gate if `visitFor` makes a visit; `onError` answers as an app's error page does. */
export async function serve(
  handler: Handler,
  visitFor?: (request: IncomingMessage) => ScriptedVisit,
  onError: (error: unknown, response: ServerResponse) => void = answerError,
): Promise<RunningApp> {
  const server = createServer((request, response) => {
    if (visitFor) {
      const visit = visitFor(request);
      visit.gate = new ResponseGate(response, visit, (error) => onError(error, response));
    }
    handler(request, response);
  });
  const app = await listen(server);
  onTestFinished(() => app.close());
  return app;
}

/** An error page like most: a status, a text. */
export function answerError(error: unknown, response: ServerResponse): void {
  response.statusCode = 503;
  response.end(`sorry: ${error instanceof Error ? error.message : String(error)}`);
}

/** Sends bytes and reads until the server closes the connection; the `Date` header is masked. */
export function exchangeBytes(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    const chunks: Buffer[] = [];
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("close", () => {
      const bytes = Buffer.concat(chunks)
        .toString("latin1")
        .replaceAll(/Date: [^\r]+/g, "Date: -");
      resolve(joinsChunks ? withoutChunkSizes(bytes) : bytes);
    });
  });
}

/** From 26 on Node joins the chunks of one tick, so that where a chunk ends depends on the time. */
const joinsChunks = Number(process.versions.node.split(".")[0]) >= 26;

function withoutChunkSizes(bytes: string): string {
  return bytes.replaceAll(/\r\n\r\n[\da-f]{1,6}\r\n/g, "\r\n\r\n").replaceAll(/\r\n[\da-f]{1,6}\r\n/g, "");
}

/** One request, as text, on a connection that the server closes after it. */
export function requestText(path = "/", { method = "GET", close = true, version = "1.1" } = {}): string {
  return `${method} ${path} HTTP/${version}\r\nHost: x\r\n${close ? "Connection: close\r\n" : ""}\r\n`;
}
