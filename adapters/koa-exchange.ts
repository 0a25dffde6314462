/**
 * One Koa context, as the engine sees it. A class: an object literal with accessors would have a hidden class of its
 * own, which outlives the request. Made by `koa.ts`.
 */
import type { IncomingMessage } from "node:http";
import type Koa from "koa";
import type { Exchange } from "../src/index.ts";
import { isClosed } from "./node-exchange.ts";

/** The exchange of one request. */
export class KoaExchange implements Exchange {
  readonly raw: IncomingMessage;
  readonly #ctx: Koa.ParameterizedContext;

  constructor(ctx: Koa.ParameterizedContext) {
    this.raw = ctx.req;
    this.#ctx = ctx;
  }

  get cookieHeader(): string | undefined {
    return this.raw.headers.cookie;
  }

  get secure(): boolean {
    return this.#ctx.secure;
  }

  get address(): string {
    return this.#ctx.ip;
  }

  get closed(): boolean | undefined {
    return isClosed(this.#ctx.res);
  }

  get headersSent(): boolean {
    return this.#ctx.headerSent;
  }

  getHeader(name: string): number | string | string[] | undefined {
    return this.#ctx.res.getHeader(name);
  }

  setHeader(name: string, value: string | string[]): void {
    this.#ctx.res.setHeader(name, value);
  }
}
