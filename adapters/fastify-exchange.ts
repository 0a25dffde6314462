/**
 * One Fastify request and its reply, as the engine sees them. A class: an object literal with accessors would have a
 * hidden class of its own, which outlives the request. Made by `fastify.ts`.
 */
import type { IncomingMessage } from "node:http";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Exchange } from "../src/index.ts";
import { isClosed } from "./node-exchange.ts";

/** The exchange of one request. */
export class FastifyExchange implements Exchange {
  readonly raw: IncomingMessage;
  readonly #request: FastifyRequest;
  readonly #reply: FastifyReply;

  constructor(request: FastifyRequest, reply: FastifyReply) {
    this.raw = request.raw;
    this.#request = request;
    this.#reply = reply;
  }

  get cookieHeader(): string | undefined {
    return this.#request.headers.cookie;
  }

  get secure(): boolean {
    return this.#request.protocol === "https";
  }

  get address(): string {
    return this.#request.ip;
  }

  get closed(): boolean | undefined {
    return isClosed(this.#reply.raw);
  }

  get headersSent(): boolean {
    return this.#reply.raw.headersSent;
  }

  getHeader(name: string): number | string | string[] | undefined {
    return this.#reply.getHeader(name);
  }

  setHeader(name: string, value: string | string[]): void {
    // Fastify's own `header` appends to Set-Cookie. A hijacked reply sends the raw headers only.
    this.#reply.removeHeader(name).header(name, value).raw.setHeader(name, value);
  }

  explain(reason: string, sessionId: string | undefined): void {
    this.#request.log.debug({ reason, sessionId }, "empty session");
  }
}
