/**
 * Runs examples in tests: opens what their `start` gives, and plays the script in their header comment. A script's
 * lines are curl commands with the answer to expect behind a `#`: a status, and a body (JSON, or `…` for any).
 */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type { Server } from "node:http";
import { type Answer, Browser } from "../support/browser.ts";
import type { RunningApp } from "../support/listen.ts";

/** A server that an example has started, once it accepts connections. */
export async function opened(starting: Server | Promise<Server>): Promise<RunningApp> {
  const server = await starting;
  if (!server.listening) await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has an address object");
  return {
    url: `http://localhost:${address.port}`,
    port: address.port,
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** One line of a script. */
export interface Step {
  /** The line as it stands there. */
  line: string;
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string | undefined;
  /** `-b`: the cookies kept so far are sent. */
  sendsCookies: boolean;
  status: number;
  /** The body to expect; `undefined`: none. */
  answer: string | undefined;
}

/** The script in the header comment of a file of `examples/`. */
export async function scriptOf(name: string): Promise<Step[]> {
  const text = await readFile(new URL(`../../examples/${name}.js`, import.meta.url), "utf8");
  const header = text.slice(0, text.indexOf("*/"));
  return header
    .split("\n")
    .filter((line) => line.startsWith(" * $ curl "))
    .map((line) => stepOf(line.slice(" * $ ".length)));
}

function stepOf(line: string): Step {
  const [, command = "", status = "", answer] = /^curl (.*?)\s+# (\d{3})(?: (.*))?$/.exec(line) ?? [];
  if (command === "") throw new Error(`not a line of a script: ${line}`);
  const words = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
  const step: Step = {
    line,
    method: "",
    path: "",
    headers: {},
    body: undefined,
    sendsCookies: false,
    status: Number(status),
    answer,
  };
  for (let word = words.shift(); word !== undefined; word = words.shift()) takeWord(step, word, words);
  if (step.method === "") step.method = step.body === undefined ? "GET" : "POST";
  return step;
}

function takeWord(step: Step, word: string, rest: string[]): void {
  if (word.startsWith("localhost:3000")) {
    step.path = word.slice("localhost:3000".length);
    return;
  }
  const value = rest.shift() ?? "";
  if (word === "-X") step.method = value;
  else if (word === "-b") step.sendsCookies = true;
  else if (word === "--json") {
    step.body = value;
    step.headers["content-type"] = "application/json";
  } else if (word !== "-c") throw new Error(`the player of scripts does not know ${word}`);
}

/** Plays one line; what is wrong with the answer is said by `check`. */
export async function playStep(browser: Browser, step: Step): Promise<Answer> {
  const { method, headers, body } = step;
  const from = step.sendsCookies ? browser : new Browser(browser.url);
  return from.get(step.path, { method, headers, ...(body === undefined ? {} : { body }) });
}
