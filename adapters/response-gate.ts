/**
 * The response gate: holds a response until the session is saved. It works on Node's own response (HTTP/1, the HTTP/2
 * compatibility API, stubs of web-socket servers) through its public methods, so that it serves Express, connect,
 * NestJS and plain `node:http` alike; middleware that wraps the same methods composes with it, before or after.
 *
 * The first call that would send the head asks the visit to commit. Nothing to wait for: the call goes straight through,
 * in the same tick. Otherwise it and what follows are kept in order, and made once the save settled; if that failed
 * they are dropped, and `next(error)` answers instead. It decides nothing about sessions. Used by `express.ts`.
 */
import { putInFront, putOnResponse } from "./gate-methods.ts";
import type {
  GateableResponse,
  GatedResponse,
  Gatekeeper,
  GateVisit,
  SendingMethods,
  Underlying,
} from "./gated-response.ts";
import { callBack, HeldResponse } from "./held-response.ts";
import { type HeaderValue, ResponseHead } from "./response-head.ts";

/** They describe the body that was dropped; left in place they would break the answer that comes instead. */
const framing = ["content-length", "content-encoding"] as const;

/** The gate of one response. It is also where the engine reads and sets headers: those of a held `writeHead` count. */
export class ResponseGate {
  readonly #response: GatedResponse;
  readonly #visit: GateVisit;
  readonly #next: (error: unknown) => void;
  readonly #under: Underlying;
  readonly #isStub: boolean;
  #installed: SendingMethods;
  /** Counts up when a failed save leaves wrappers above ours behind: what they still send is nobody's answer. */
  #generation = 0;
  /** The head has left. */
  #isOpen = false;
  #held: HeldResponse | undefined;
  #head: ResponseHead | undefined;
  /** Headers that the engine sets count only if its commit succeeds. */
  #isCommitting = false;
  #headers: Map<string, { name: string; value: string | string[] }> | undefined;
  #failure: { error: unknown } | undefined;
  /** The head left by another call than `end`. */
  #isStreamed = false;
  #isEnded = false;
  #isClosed = false;
  #isFinished = false;

  /**
   * Puts the gate in front of `response`; `next` gets the error of a save that failed, once. `prototype`: what all
   * responses of an Express app inherit from.
   */
  constructor(response: GateableResponse, visit: GateVisit, next: (error: unknown) => void, prototype?: object) {
    // The overloads of each method are folded into one form that takes them all.
    this.#response = response as unknown as GatedResponse;
    this.#visit = visit;
    this.#next = next;
    const { methods, under } = putInFront(this.#response, this.#keeper(), prototype);
    [this.#installed, this.#under, this.#isStub] = [methods, under, under.on === undefined];
    this.#response.on?.("close", () => this.#close());
  }

  /** Whether the head has really left. */
  get headersSent(): boolean {
    if (this.#held !== undefined) return this.#isOpen;
    return this.#response.headersSent ?? this.#isOpen;
  }

  /** A header as it stands, or as the held `writeHead` passes it. */
  getHeader(name: string): HeaderValue | undefined {
    const set = this.#isCommitting ? (this.#headers?.get(name)?.value ?? this.#head?.get(name)) : undefined;
    return set ?? this.#response.getHeader(name);
  }

  /** Sets a header; during a commit once that succeeded. */
  setHeader(name: string, value: string | string[]): void {
    if (!this.#isCommitting) {
      this.#response.setHeader(name, value);
      return;
    }
    this.#headers ??= new Map();
    this.#headers.set(name.toLowerCase(), { name, value });
  }

  #keeper(): Gatekeeper {
    const generation = this.#generation;
    return (name, args) => (generation === this.#generation ? this.#take(name, args) : this.#discard(name, args));
  }

  /** One of the four calls, from anyone: the app, other middleware, or Node itself. */
  #take(name: keyof SendingMethods, args: unknown[]): unknown {
    if (this.#held !== undefined) return this.#held.keep(name, args);
    if (this.#isOpen) return this.#pass(name, args);
    this.#isStreamed = name !== "end";
    this.#head = name === "writeHead" ? new ResponseHead(args) : undefined;
    if (this.#failure !== undefined) this.#refuseSuccess(args);
    this.#isCommitting = true;
    const saved = this.#commit();
    if (saved !== undefined && !this.#isStub) return this.#hold(name, args, saved);
    this.#isCommitting = false;
    this.#isOpen = true;
    // A web-socket server's stub has no events and can't be held: its handshake goes on in this tick.
    if (this.#isStub) void Promise.allSettled([saved]).then(() => this.#finish());
    const result = this.#send(name, args);
    this.#isEnded = name === "end";
    return result;
  }

  /** What the user's own functions throw (cookie attributes) is a failed save too. */
  #commit(): Promise<void> | undefined {
    try {
      return this.#visit.commit();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #pass(name: keyof SendingMethods, args: unknown[]): unknown {
    if (this.#isEnded && this.#failure !== undefined && name !== "writeHead") return this.#discard(name, args);
    if (name !== "end" || this.#isEnded) return this.#call(name, args);
    // What changed since the head left is saved before the last byte; the engine reports a failure.
    const saved = this.#isStreamed ? this.#commit()?.catch(() => {}) : undefined;
    if (saved !== undefined) {
      this.#head = undefined;
      return this.#hold(name, args, saved);
    }
    const result = this.#call(name, args);
    // Only now: HTTP/2's `end` calls `write`.
    this.#isEnded = true;
    return result;
  }

  /** The headers of the commit, then the call. */
  #send(name: keyof SendingMethods, args: unknown[]): unknown {
    const headers = this.#headers;
    if (headers === undefined) return this.#call(name, args);
    if (!this.#response.headersSent) {
      for (const header of headers.values()) this.#response.setHeader(header.name, header.value);
    }
    return this.#call(name, this.#head?.without(headers) ?? args);
  }

  #call(name: keyof SendingMethods, args: unknown[]): unknown {
    return this.#under[name]?.apply(this.#response, args);
  }

  #hold(name: keyof SendingMethods, args: unknown[], saved: Promise<void>): unknown {
    const held = new HeldResponse(this.#response, this.#under, this.#head);
    this.#held = held;
    saved.then(
      () => this.#release(held),
      // The error page's own commit has nothing left to report.
      (error: unknown) => (this.#failure === undefined ? this.#fail(held, error) : this.#release(held)),
    );
    return held.keep(name, args);
  }

  #release(held: HeldResponse): void {
    this.#held = undefined;
    this.#isCommitting = false;
    const wasOpen = this.#isOpen;
    this.#isOpen = true;
    try {
      held.release(this.#headers);
      this.#isEnded = held.isEnded;
    } catch (error) {
      // Node refused one of the calls (a bad header, a chunk that is none): the app's error, a moment later than usual.
      this.#isOpen = wasOpen || this.#response.headersSent === true;
      this.#giveUp(error);
    }
    if (this.#isClosed) this.#finish();
  }

  #fail(held: HeldResponse, error: unknown): void {
    this.#held = undefined;
    this.#isCommitting = false;
    this.#headers = undefined;
    held.drop(error);
    for (const name of framing) {
      // Node remembers a removal, of what was never set too, and would leave the answer without its length.
      if (this.#response.getHeader(name) !== undefined) this.#response.removeHeader?.(name);
    }
    const { write, end } = this.#response;
    if (write !== this.#installed.write || end !== this.#installed.end) {
      // Compression and its kin have ended their own stream already; the answer goes out without them.
      this.#generation++;
      this.#installed = putOnResponse(this.#response, this.#keeper()).methods;
      if (this.#under.on !== undefined) this.#response.on = this.#under.on;
    }
    this.#giveUp(error);
    if (this.#isClosed) this.#finish();
  }

  /** Hands the error to the app, once; whatever becomes of that, the response ends. */
  #giveUp(error: unknown): void {
    const isFirst = this.#failure === undefined;
    this.#failure ??= { error };
    if (this.#isOpen) this.#response.destroy?.();
    try {
      if (isFirst) this.#next(error);
      else this.#answer(error);
    } catch (thrown) {
      this.#answer(error);
      if (thrown !== error) throw thrown;
    }
  }

  /** A bare answer, where the app has none. */
  #answer(error: unknown): void {
    if (this.headersSent || this.#held !== undefined) return;
    this.#isOpen = true;
    this.#isEnded = true;
    this.#response.statusCode = statusOf(error);
    this.#call("end", []);
  }

  /** A save that failed is never answered with a success. */
  #refuseSuccess(args: unknown[]): void {
    const isSuccess = (status: unknown): boolean => Number(status) >= 200 && Number(status) < 300;
    const status = statusOf(this.#failure?.error);
    if (isSuccess(this.#response.statusCode)) this.#response.statusCode = status;
    if (this.#head !== undefined && isSuccess(args[0])) {
      args[0] = status;
      this.#head = new ResponseHead(args);
    }
  }

  /** A call that belongs to a response that was dropped. */
  #discard(name: keyof SendingMethods, args: unknown[]): unknown {
    callBack(args, this.#failure?.error);
    return name === "write" ? true : this.#response;
  }

  #close(): void {
    this.#isClosed = true;
    if (this.#held === undefined) this.#finish();
  }

  #finish(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    void this.#visit.finish();
  }
}

function statusOf(error: unknown): number {
  const status = typeof error === "object" && error !== null && "status" in error ? error.status : undefined;
  return typeof status === "number" && status >= 400 && status <= 599 ? status : 500;
}
