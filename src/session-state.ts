/**
 * One session as this process knows it: the data that the user works on, what the store is known to hold, and what is
 * still due. Commit and rotation change it; the Session object is its face. It knows no request.
 */
import type { Data } from "./codec.ts";
import type { Context } from "./context.ts";
import type { Budget } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import { newSecret, publicIdOf } from "./id.ts";
import { setKey } from "./merge.ts";
import { type Content, decodeData, type Known, unpack } from "./record.ts";
import type { EndReason, LiveRecord } from "./store.ts";

/** Names that are members of the session in every framework, or will be: no data key may have one. */
export const reservedKeys: ReadonlySet<string> = new Set([
  "id",
  "isNew",
  "cookie",
  "save",
  "update",
  "reload",
  "renew",
  "regenerate",
  "destroy",
  "touch",
  "expiresAt",
  "absoluteExpiresAt",
  "expire",
  "principal",
  "authenticatedAt",
  "isDegraded",
  "sessionId",
]);

/** Runs operations on a request's session one after the other; implemented by the visit. */
export interface SessionHost {
  /**
   * Runs `operation` after those begun before it. A failure of the store is remembered under `name`, so that the
   * response fails too, until an operation of that name succeeds.
   */
  run<T>(name: string, operation: (budget: Budget) => Promise<T>): Promise<T>;
  /** Makes `state` the request's session from now on. */
  adopt(state: SessionState): void;
}

/** Takes a live record apart. Throws on a payload that can't be ours. */
export function knownFrom(context: Context, id: string, record: LiveRecord): Known {
  const { version, createdAt, touchedAt, expiresAt, absoluteExpiresAt } = record;
  const { maxRecordSize, transforms } = context.options;
  if (record.payload.byteLength > maxRecordSize) {
    throw new RangeError(`${record.payload.byteLength} bytes are more than maxRecordSize (${maxRecordSize})`);
  }
  const content = unpack(record.payload, id, transforms);
  return { version, createdAt, touchedAt, expiresAt, absoluteExpiresAt, content };
}

/** The data of a text. Throws on garbage, and on a key that only a member may have. */
export function dataOf(context: Context, text: string): Data {
  const data = decodeData(text, context.codec);
  for (const key of Object.keys(data)) {
    if (reservedKeys.has(key)) throw new TypeError(`the data have a key "${key}", which is a member of the session`);
  }
  return data;
}

/** The mutable state of one session. */
export class SessionState {
  readonly context: Context;
  /**
   * `"new"`: no record yet. `"ended"`: nothing is stored any more, whatever is written. `"degraded"`: nothing is known
   * or stored, as the store failed.
   */
  phase: "new" | "live" | "ended" | "degraded" = "new";
  /** Why it is degraded. */
  failure: SessionError | undefined;
  /** Why it ended, where `phase` is `"ended"`. */
  endReason: EndReason | "unknown" = "unknown";
  /** What the store was last known to hold. */
  known: Known | undefined;
  /** What `data` was last in step with: anything else is a change. */
  baseline: Content;
  /** The object that the user works on; its own enumerable properties are the data. */
  data: Data = {};
  /** `session.cookie.maxAge`: ms, `null` for a browser-session cookie, `undefined` for the option's. */
  maxAge: number | null | undefined;
  /** `destroy()` was called and has not been done yet. */
  isEndDue = false;
  /** The request came with an id that a timed rotation has replaced. */
  isLedOn = false;
  /** This request logged somebody in (`renew()`, `regenerate()`): what it saves belongs to the login. */
  isLogin = false;
  /** A write that was to create its record failed, and may have been applied all the same. */
  isCreationUnsure = false;
  /** The browser must get this session's cookie. */
  isCookieDue = false;
  /** This response has the cookie. */
  isCookieSet = false;
  /** The lifetime was extended: a persistent cookie must be sent again. */
  isExtended = false;
  /** The browser's cookie names a session that this request ended. */
  isClearDue = false;
  #secret: string | undefined;
  #id: string | undefined;

  /** `stored`: the public id of `secret`, and what stands under it. */
  constructor(context: Context, secret?: string, stored?: { id: string; known: Known }) {
    const known = stored?.known;
    this.context = context;
    this.#secret = secret;
    this.#id = stored?.id;
    this.known = known;
    this.baseline = known?.content ?? { meta: {}, text: context.emptyText };
    this.maxAge = known?.content.meta.maxAge;
    if (known !== undefined) this.phase = "live";
  }

  /** A session that had ended before this request began. */
  static ended(context: Context, secret: string, reason: EndReason): SessionState {
    const state = new SessionState(context, secret);
    state.end(reason);
    return state;
  }

  /** A session that stands in for one that the store could not give. */
  static degraded(context: Context, failure: SessionError): SessionState {
    const state = new SessionState(context);
    state.phase = "degraded";
    state.failure = failure;
    return state;
  }

  /** What stands in the cookie; made when first needed. */
  get secret(): string {
    this.#secret ??= newSecret(this.context.options.genId);
    return this.#secret;
  }

  /** The public id. */
  get id(): string {
    this.#id ??= publicIdOf(this.secret);
    return this.#id;
  }

  /** Gives the session another identity. */
  setSecret(secret: string | undefined): void {
    this.#secret = secret;
    this.#id = undefined;
    this.isCreationUnsure = false;
  }

  /** Gives the user's object other data. */
  replaceData(data: Data): void {
    for (const key of Object.keys(this.data)) delete this.data[key];
    for (const key of Object.keys(data)) setKey(this.data, key, data[key]);
  }

  /** Nothing of this session will be stored any more. */
  end(reason: EndReason | "unknown"): void {
    this.phase = "ended";
    this.endReason = reason;
    this.known = undefined;
    this.isEndDue = false;
    this.isCookieDue = false;
  }

  /** A session without a record again, under a new id: what a login after an end begins. */
  restart(): void {
    this.phase = "new";
    this.known = undefined;
    this.baseline = { meta: {}, text: this.context.emptyText };
    this.setSecret(undefined);
  }

  /**
   * What would be stored now.
   * @throws {SessionError} `ERR_SESSION_VALUE`, `ERR_SESSION_RESERVED_KEY`
   */
  content(): Content {
    const { maxAge: _earlier, ...meta } = this.baseline.meta;
    if (this.maxAge !== undefined) Object.assign(meta, { maxAge: this.maxAge });
    return { meta, text: encode(this.context, this.data) };
  }

  /** Whether `content` differs from what the data were last in step with. */
  differs(content: Content): boolean {
    return content.text !== this.baseline.text || content.meta.maxAge !== this.baseline.meta.maxAge;
  }

  /**
   * What a save would write; `undefined`: nothing changed.
   * @throws {SessionError} `ERR_SESSION_VALUE`, `ERR_SESSION_RESERVED_KEY`
   */
  change(): Content | undefined {
    if (this.phase === "degraded") return undefined;
    const content = this.content();
    return this.differs(content) ? content : undefined;
  }

  /** The idle lifetime in ms. */
  get idleMs(): number {
    return typeof this.maxAge === "number" ? this.maxAge : this.context.options.ttlMs;
  }

  /** Whether enough time has passed since the last write or touch for another one. */
  isTouchDue(now: number): boolean {
    const { rolling, touchIntervalMs } = this.context.options;
    if (!rolling || this.known === undefined) return false;
    // A session that lives shorter than the others must not outrun its touches.
    const interval = typeof this.maxAge === "number" ? Math.min(touchIntervalMs, this.maxAge / 20) : touchIntervalMs;
    // At least one: what was written in this very millisecond is not touched as well.
    return now - this.known.touchedAt >= Math.max(1, interval);
  }
}

/** @throws {SessionError} `ERR_SESSION_RESERVED_KEY` where a data key is the name of a member */
export function refuseReserved(data: Data): void {
  for (const key of Object.keys(data)) {
    if (reservedKeys.has(key)) {
      throw new SessionError(
        "ERR_SESSION_RESERVED_KEY",
        `the data key "${key}" is the name of a member of the session and can't be stored: use another name`,
      );
    }
  }
}

/** @throws {SessionError} `ERR_SESSION_VALUE`, `ERR_SESSION_RESERVED_KEY` */
export function encode(context: Context, data: Data): string {
  refuseReserved(data);
  try {
    return context.codec.encode(data);
  } catch (error) {
    if (error instanceof SessionError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new SessionError("ERR_SESSION_VALUE", `the session's data can't be encoded: ${reason}`, { cause: error });
  }
}
