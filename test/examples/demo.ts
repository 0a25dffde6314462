/** Starts the demo in this process, and speaks its JSON API as a browser does. */
import { start } from "../../examples/demo/index.js";
import type { Framework } from "../../examples/demo/page.js";
import { type Answer, Browser } from "../support/browser.ts";

export type { Framework };

/** In the order of their ports. */
export const frameworks: readonly Framework[] = ["express", "koa", "fastify"];

/** A demo that runs. */
export type Demo = Awaited<ReturnType<typeof start>>;

/** 32 characters, shared by all demos of a test. */
export const secret: string = "a secret of the tests of the demo";

/** Starts the demo on free ports. End it with `close()`. */
export function startDemo(redisUrl?: string): Promise<Demo> {
  return start(0, { redisUrl, secret });
}

/** What `GET /api/session` answers. */
export interface Shown {
  framework: Framework;
  id: string;
  isNew: boolean;
  user: string | null;
  views: number;
  cart: string[];
  idleLeftMs: number;
  absoluteLeftMs: number;
}

/** A visitor of the demo: one cookie jar for the three ports, as cookies ignore ports. */
export class Visitor {
  readonly #jar: Browser;

  constructor(readonly urls: Demo["urls"]) {
    this.#jar = new Browser(urls.express);
  }

  /** The cookies by name. */
  get cookies(): Map<string, string> {
    return this.#jar.cookies;
  }

  /** One request to one framework; a `body` that is no string goes as JSON. */
  call(framework: Framework, line: string, body?: unknown, headers?: Record<string, string>): Promise<Answer> {
    const [method = "GET", path = "/"] = line.split(" ");
    const type: Record<string, string> = body === undefined ? {} : { "content-type": "application/json" };
    const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    return this.#jar.get(this.urls[framework] + path, {
      method,
      headers: { ...type, ...headers },
      ...(text === undefined ? {} : { body: text }),
    });
  }

  /** What one framework says about the session. */
  async session(framework: Framework): Promise<Shown> {
    return (await this.call(framework, "GET /api/session")).json<Shown>();
  }
}
