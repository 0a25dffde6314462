/**
 * One session as this process knows it: the data that the user works on, what the store is known to hold, and what is
 * still due. Commit and rotation change it; the Session object is its face. It knows no request.
 */
import type { Data } from "./codec.ts";
import type { Context } from "./context.ts";
import type { Budget } from "./deadline.ts";
import type { SessionError } from "./errors.ts";
import { Fingerprint } from "./fingerprint.ts";
import { newSecret, publicIdOf } from "./id.ts";
import { idleMsOf } from "./lifetimes.ts";
import { setKey } from "./merge.ts";
import { type Description, isSameOwn, mergeOwn, type OwnMeta, ownedBy, withOwn } from "./meta.ts";
import type { SessionName } from "./principals.ts";
import type { Content, Known } from "./record.ts";
import { contentOf, stamped } from "./session-content.ts";
import type { EndReason } from "./store.ts";
import { whose } from "./whose.ts";

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
  /** What it keeps beside its data, as this request wants it; changed by `changeOwn()`. */
  own: OwnMeta;
  /** A login that no record says yet: the next one to be created will. */
  loginAt: number | undefined;
  /** The login that `onAnomaly` does not trust in this request. */
  distrustedLogin: number | undefined;
  /** Who came with this request, by the `describe` option; set by the visit. */
  describe: (() => Description) | undefined;
  /** Named in its user's index, and not confirmed yet. */
  entering: SessionName | undefined;
  /** `destroy()` was called and has not been done yet. */
  isEndDue = false;
  /** The request came with an id that a timed rotation has replaced. */
  isLedOn = false;
  /** This request logged somebody in (`renew()`, `regenerate()`): what it saves belongs to the login. */
  isLogin = false;
  /** What was to create its record failed, and may have been applied all the same. */
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
  /** The data as they were when they were last decoded or encoded. */
  #print: Fingerprint | undefined;

  /** `stored`: the public id of `secret`, and what stands under it. */
  constructor(context: Context, secret?: string, stored?: { id: string; known: Known }) {
    const known = stored?.known;
    this.context = context;
    this.#secret = secret;
    this.#id = stored?.id;
    this.known = known;
    this.baseline = known?.content ?? { meta: {}, text: context.emptyText };
    this.own = this.baseline.meta;
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
    this.loginAt = this.context.store.now();
    this.setSecret(undefined);
  }

  /** `session.cookie.maxAge`: ms, `null` for a browser-session cookie, `undefined` for the option's. */
  get maxAge(): number | null | undefined {
    return this.own.maxAge;
  }

  /**
   * Whose session it is with the data as they are; `undefined`: nobody's.
   * @throws {SessionError} `ERR_SESSION_PRINCIPAL`
   */
  get principal(): string | undefined {
    return whose(this.context, this.data, this.own.principal);
  }

  /** Sets what the session keeps beside its data; `undefined`: the option's. A change, saved like one of the data. */
  changeOwn(own: { [K in keyof OwnMeta]: OwnMeta[K] | undefined }): void {
    // `undefined` reads as absent everywhere.
    this.own = { ...this.own, ...own } as OwnMeta;
  }

  /** The store holds `stored` where it held `before`: what this request left alone follows. */
  follow(before: OwnMeta, stored: OwnMeta): void {
    this.own = mergeOwn(before, this.own, stored);
  }

  /**
   * What would be stored now.
   * @throws {SessionError} `ERR_SESSION_VALUE`, `ERR_SESSION_RESERVED_KEY`
   */
  content(): Content {
    const { meta: before } = this.baseline;
    const meta = this.isOwnChanged ? withOwn(before, this.own) : before;
    return contentOf(this.context, ownedBy(meta, this.principal), this.data);
  }

  /** The first content of a record: it says whose login it is, and who made it. */
  forCreation({ meta, text }: Content): Content {
    return { meta: stamped(this.context, withOwn(meta, this.withLogin(meta))), text };
  }

  /** `own`, with the login that is not stored yet and who came with this request. */
  withLogin(own: OwnMeta, loginAt: number | undefined = this.loginAt): OwnMeta {
    const by = this.describe?.();
    return { ...own, ...(loginAt === undefined ? {} : { loginAt }), ...(by === undefined ? {} : { by }) };
  }

  /** `data` as decoded; where that gave them another shape (`schema`, `migrate`), it is no change of this request. */
  adoptDecoded(data: Data): void {
    const { schema, version } = this.context.options;
    const { meta } = this.baseline;
    if (schema !== undefined || (meta.v ?? 0) !== version) {
      this.baseline = contentOf(this.context, meta, data);
      this.follow(meta, this.baseline.meta);
    }
    this.#print = Fingerprint.of(data, this.baseline.text);
  }

  /** Whether `content` differs from what the data were last in step with. */
  differs(content: Content): boolean {
    return content.text !== this.baseline.text || !isSameOwn(content.meta, this.baseline.meta);
  }

  /** Whether this request changed what the session keeps beside its data. */
  get isOwnChanged(): boolean {
    return !isSameOwn(this.own, this.baseline.meta);
  }

  /** What a save would write; `undefined`: nothing changed. @throws {SessionError} as `content()` */
  change(): Content | undefined {
    if (this.phase === "degraded" || this.#isAsBefore) return undefined;
    const content = this.content();
    this.#print = Fingerprint.of(this.data, content.text);
    return this.differs(content) ? content : undefined;
  }

  /** Whether it takes no encoding to know that there is nothing to save. `principal` may be an option that is new. */
  get #isAsBefore(): boolean {
    const { meta, text } = this.baseline;
    const isSame = this.#print?.text === text && this.#print.matches(this.data);
    return isSame && !this.isOwnChanged && this.principal === meta.principal;
  }

  /** The idle lifetime in ms. */
  get idleMs(): number {
    return idleMsOf(this.context, this.own);
  }

  /** The absolute lifetime in ms; `null`: none. */
  get absoluteMs(): number | null {
    return this.own.absolute ?? this.context.options.absoluteTimeoutMs;
  }

  /** Whether enough time has passed since the last write or touch for another one. */
  isTouchDue(now: number): boolean {
    const { rolling, touchIntervalMs } = this.context.options;
    if (!rolling || this.known === undefined) return false;
    // A session that lives shorter than the others must not outrun its touches. At least one ms: not what was written now.
    const ownMs = this.own.idle ?? this.own.maxAge;
    const interval = typeof ownMs === "number" ? Math.min(touchIntervalMs, ownMs / 20) : touchIntervalMs;
    return now - this.known.touchedAt >= Math.max(1, interval);
  }
}
