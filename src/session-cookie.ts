/**
 * `session.cookie`: the cookie of this session alone. Setting `maxAge` or `expires` is "remember me": it gives this
 * session, in the store and in the browser, a lifetime of its own. The other attributes are read only.
 */
import type { PerRequest } from "./cookie-options.ts";
import { SessionError } from "./errors.ts";
import { type Duration, maxDurationMs, millisecondsOf, show } from "./option-checks.ts";
import type { SessionState } from "./session-state.ts";

/** This session's cookie, as the app sees and changes it. */
export class SessionCookie {
  readonly #state: SessionState;

  constructor(state: SessionState) {
    this.#state = state;
  }

  /** Lifetime in ms; `null`: until the browser closes. Without one of its own: what the options say, if that is fixed. */
  get maxAge(): number | null {
    const own = this.#state.maxAge;
    if (own !== undefined) return own;
    const { cookie, ttlMs } = this.#state.context.options;
    if (cookie.maxAge === "ttl") return ttlMs;
    return cookie.maxAge === null || typeof cookie.maxAge === "function" ? null : toMs(cookie.maxAge);
  }

  /**
   * A duration (ms, or a string such as `"30d"`), or `null` for a browser-session cookie. Above `absoluteTimeout` it is
   * cut and reported once.
   * @throws {SessionError} `ERR_SESSION_COOKIE`
   */
  set maxAge(value: Duration | null) {
    this.#state.changeOwn({ maxAge: value === null ? null : toMs(value) });
    const absoluteTimeoutMs = this.#state.absoluteMs;
    if (absoluteTimeoutMs !== null && (this.#state.maxAge ?? 0) > absoluteTimeoutMs) {
      this.#state.context.notices.once(
        "HOLDFAST_MAX_AGE",
        `session.cookie.maxAge: ${show(value)} is more than absoluteTimeout (${absoluteTimeoutMs} ms), which cuts it; raise that option`,
      );
    }
  }

  /** When the cookie would expire if it were sent now; `null`: when the browser closes. */
  get expires(): Date | null {
    const { maxAge } = this;
    return maxAge === null ? null : new Date(Date.now() + maxAge);
  }

  /**
   * Sets `maxAge` by a date.
   * @throws {SessionError} `ERR_SESSION_COOKIE`
   */
  set expires(value: Date | null) {
    this.maxAge = value === null ? null : Number(value) - Date.now();
  }

  /** The cookie's name. */
  get name(): string {
    return this.#state.context.options.cookie.name;
  }

  /** As in the options; `undefined` where the option is a function of the request. So are the others below. */
  get path(): string | undefined {
    return fixed(this.#state.context.options.cookie.path);
  }

  get domain(): string | undefined {
    return fixed(this.#state.context.options.cookie.domain);
  }

  get secure(): boolean | "auto" | undefined {
    return fixed(this.#state.context.options.cookie.secure);
  }

  get httpOnly(): boolean | undefined {
    return fixed(this.#state.context.options.cookie.httpOnly);
  }

  get sameSite(): "lax" | "strict" | "none" | undefined {
    return fixed(this.#state.context.options.cookie.sameSite);
  }

  /** What inspection and JSON show. */
  toJSON(): { name: string; maxAge: number | null } {
    return { name: this.name, maxAge: this.maxAge };
  }
}

function fixed<T extends string | boolean | undefined>(option: PerRequest<T>): T | undefined {
  return typeof option === "function" ? undefined : option;
}

function toMs(value: unknown): number {
  const amount = millisecondsOf(value, 1);
  if (amount !== undefined) return amount;
  throw new SessionError(
    "ERR_SESSION_COOKIE",
    `session.cookie.maxAge: received ${show(value)}; write milliseconds from 1 to ${maxDurationMs}, a string such as "30d", or null (to end a session call destroy())`,
  );
}
