/**
 * How one reply leaves under the Fastify plugin: the commit in `onSend`, once whatever the app does (a handler that
 * sends without returning, an error page after a failed save), and the look at the end. Made by `fastify.ts`.
 *
 * A handler that goes on after its client went away is followed when it answers, a hijacked reply when `raw.end()` is
 * called. One that then returns nothing and ends nothing is over for nobody: Fastify tells no plugin, and what it changed
 * since is not saved, as in Express. It calls `await request.session.save()`.
 */
import { Readable } from "node:stream";
import type { FastifyReply, FastifyRequest } from "fastify";
import { SessionError, type Visit } from "../src/index.ts";

/** One reply on its way. */
export class Departure {
  readonly #request: FastifyRequest;
  readonly #reply: FastifyReply;
  readonly #visit: Visit;
  /** An `onSend` waits for the commit; what the reply was when it came. */
  #held: { statusCode: number; type: ReturnType<FastifyReply["getHeader"]> } | undefined;
  #isOvertaken = false;

  constructor(request: FastifyRequest, reply: FastifyReply, visit: Visit) {
    this.#request = request;
    this.#reply = reply;
    this.#visit = visit;
  }

  /**
   * `onSend`: calls `done`, or returns the promise to wait for; it rejects where the save failed, and Fastify sends the
   * error. A second send while the first one waits ends here: Fastify's rule is that the first one wins.
   */
  leave(payload: unknown, done: () => void): Promise<void> | void {
    if (this.#held !== undefined) {
      this.#isOvertaken = true;
      if (payload === undefined) return;
      this.#request.log.warn('the reply was already being sent: did you forget to "return reply"?');
      return;
    }
    const pending = this.#visit.commit();
    if (pending === undefined) return done();
    this.#held = { statusCode: this.#reply.statusCode, type: this.#reply.getHeader("content-type") };
    return pending.then(
      () => this.#release(),
      (error: unknown) => {
        this.#held = undefined;
        if (payload instanceof Readable) payload.destroy();
        this.#fail(error);
      },
    );
  }

  /** The response has ended, or the client went away. */
  finish(): void {
    void this.#visit.finish();
  }

  #release(): void {
    const held = this.#held;
    this.#held = undefined;
    if (!this.#isOvertaken || held === undefined) return;
    // The send that came too late (an error page) has changed the reply.
    this.#reply.code(held.statusCode).removeHeader("content-type").removeHeader("content-length");
    if (held.type !== undefined) this.#reply.header("content-type", held.type);
  }

  /** Nothing of what the handler answered may go with the error, nor what earlier `onSend` hooks made of it. */
  #fail(error: unknown): never {
    const names = ["content-encoding", "content-disposition", "etag", "last-modified", "location"];
    for (const name of names) this.#reply.removeHeader(name);
    this.#reply.header("cache-control", "no-store");
    const isOurs = error instanceof SessionError;
    this.#reply.code(isOurs ? error.status : 500);
    if (isOurs && error.headers !== undefined) this.#reply.headers(error.headers);
    throw error;
  }
}
