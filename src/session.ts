/**
 * The session object: `req.session`, `ctx.session`, `request.session`. Its own enumerable properties are the user's
 * data; its members live on the prototype, return promises and take a trailing Node callback too. It is a face: the
 * work is in commit.ts and rotation.ts, the order of operations and the response are the host's.
 */
import type { Data } from "./codec.ts";
import { type Outcome, reload, save, touch } from "./commit.ts";
import type { Budget } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import { absoluteDeadline, idleDeadline, type Lifetimes, lifetimesOf } from "./lifetimes.ts";
import { setKey } from "./merge.ts";
import { destroy, type Renewal, regenerate, renew } from "./rotation.ts";
import { refuseMember, refuseReserved, reservedKeys } from "./session-content.ts";
import { SessionCookie } from "./session-cookie.ts";
import type { SessionData } from "./session-data.ts";
import type { SessionHost, SessionState } from "./session-state.ts";
import { update } from "./update.ts";
import { assignedPrincipal } from "./whose.ts";

/** A trailing callback, called exactly once. */
export type Callback<T = void> = (error: unknown, result?: T) => void;

/** The members of a session. The data are its other properties; their type is `SessionData`. */
export class Session {
  readonly #state: SessionState;
  readonly #host: SessionHost;
  #cookie: SessionCookie | undefined;

  /** Made by the engine; `data` become own properties. */
  constructor(state: SessionState, host: SessionHost, data: Data) {
    this.#state = state;
    this.#host = host;
    const own = ownDataOf(this);
    for (const key of Object.keys(data)) setKey(own, key, data[key]);
    state.data = own;
  }

  /** Public id: base64url SHA-256 of the cookie's secret. Safe to log; stable until rotation. */
  get id(): string {
    return this.#state.id;
  }

  /** The same as `id`, under the name that Fastify's session has. */
  get sessionId(): string {
    return this.#state.id;
  }

  /** Whether the store holds no record of it yet. */
  get isNew(): boolean {
    return this.#state.phase !== "live";
  }

  /** Whether it stands in for one that the store could not give (`onStoreError: "anonymous"`): nothing is saved. */
  get isDegraded(): boolean {
    return this.#state.phase === "degraded";
  }

  /** The cookie of this session alone. */
  get cookie(): SessionCookie {
    this.#cookie ??= new SessionCookie(this.#state);
    return this.#cookie;
  }

  /**
   * Idle deadline, epoch ms by the store's clock: what the store has, so activity that is not written down yet
   * (`touchInterval`, this request) comes on top. For a page that warns.
   */
  get expiresAt(): number {
    const { context, known, own } = this.#state;
    return idleDeadline(context, known, own);
  }

  /** Absolute deadline, epoch ms by the store's clock; `null`: none. */
  get absoluteExpiresAt(): number | null {
    const { known, own, context } = this.#state;
    return absoluteDeadline(context, known, own, context.store.now());
  }

  /**
   * When its user last logged in, epoch ms by the store's clock: the last `renew()`, `regenerate()` or change of the
   * principal (not `renew({ login: false })`); `null`: never, or `onAnomaly` does not trust it now. A logout that regenerates counts: check the user, too.
   */
  get authenticatedAt(): number | null {
    const { own, loginAt, distrustedLogin } = this.#state;
    const at = own.loginAt ?? loginAt ?? null;
    return at === distrustedLogin ? null : at;
  }

  /** Whether a session's user logged in at most `maxAgeMs` ago, by the store's clock; for freshness.ts. */
  static isFresh(session: Session, maxAgeMs: number): boolean {
    const { authenticatedAt } = session;
    return authenticatedAt !== null && session.#state.context.store.now() - authenticatedAt <= maxAgeMs;
  }

  /**
   * Gives this session timeouts of its own, stored with it: a change like one of the data. `idle` counts from the last
   * activity, `absolute` from creation or the last login (so calling it on each request moves nothing); one that has
   * passed already ends the session with this response. `null`: what the options say. Left out: as it was.
   * @throws {SessionError} `ERR_SESSION_EXPIRE`
   */
  expire(lifetimes: Lifetimes): void {
    this.#state.changeOwn(lifetimesOf(lifetimes));
  }

  /**
   * Whose session it is: what the option `principal` says of its data, or what was assigned here where there is no such
   * option; `undefined`: nobody's. Whoever changes it gets a new id with the next save.
   * @throws {SessionError} `ERR_SESSION_PRINCIPAL`
   */
  get principal(): string | undefined {
    return this.#state.principal;
  }

  set principal(value: string | number | null | undefined) {
    this.#state.changeOwn({ principal: assignedPrincipal(this.#state.context, value) });
  }

  /**
   * Commits now; an untouched new session is stored too.
   * @throws {SessionError} `ERR_SESSION_VALUE`, `ERR_SESSION_RESERVED_KEY`, `ERR_SESSION_STORE…`
   */
  save(callback?: Callback<Outcome>): Promise<Outcome> {
    return this.#run("save", (budget) => save(this.#state, budget, true), callback);
  }

  /**
   * Atomic read-modify-write: runs the synchronous `fn` on the newest data, again if somebody else was first, and
   * resolves to what it returned. Unsaved changes of this request are not in that data; they stay pending.
   * @throws {SessionError} `ERR_SESSION_GONE`, `ERR_SESSION_UPDATE`, and what `save` throws
   */
  update<T>(fn: (data: SessionData & Data) => T, callback?: Callback<T>): Promise<T> {
    return this.#run("update", (budget) => update(this.#state, budget, fn), callback);
  }

  /**
   * Drops local changes and reads again.
   * @throws {SessionError} `ERR_SESSION_GONE`, `ERR_SESSION_STORE…`
   */
  reload(callback?: Callback): Promise<void> {
    return this.#run("reload", (budget) => reload(this.#state, budget), callback);
  }

  /**
   * New id, same data, the old id dead at once: call it at login (ASVS 7.2.4, session fixation), and with
   * `{ login: false }` where what the user may do changes without one.
   * @throws {SessionError} `ERR_SESSION_STORE…`, and what `save` throws
   */
  renew(how?: Renewal | Callback, callback?: Callback): Promise<void> {
    const [why, done] = typeof how === "function" ? [undefined, how] : [how, callback];
    return this.#run("renew", (budget) => renew(this.#state, budget, why).then(() => {}), done);
  }

  /**
   * New id, empty data, the old record destroyed. The request's session is another object afterwards.
   * @param keep data keys to carry over
   * @throws {SessionError} `ERR_SESSION_STORE…`
   */
  regenerate(keep?: readonly string[] | Callback, callback?: Callback): Promise<void> {
    const keys = Array.isArray(keep) ? keep : [];
    const next = (budget: Budget) => regenerate(this.#state, budget, keys);
    const done = typeof keep === "function" ? keep : callback;
    return this.#run("regenerate", async (budget) => this.#host.adopt(await next(budget)), done);
  }

  /**
   * Ends the session: the record is removed, the cookie cleared in this response, the data emptied.
   * @throws {SessionError} `ERR_SESSION_STORE…`
   */
  destroy(callback?: Callback): Promise<void> {
    this.#state.isEndDue = true;
    return this.#run("destroy", (budget) => destroy(this.#state, budget), callback);
  }

  /**
   * Extends the lifetime now, with `rolling: false` too.
   * @throws {SessionError} `ERR_SESSION_STORE…`
   */
  touch(callback?: Callback): Promise<void> {
    return this.#run("touch", async (budget) => void (await touch(this.#state, budget)), callback);
  }

  #run<T>(name: string, operation: (budget: Budget) => Promise<T>, callback: Callback<T> | undefined): Promise<T> {
    return nodeify(this.#host.run(name, operation), callback);
  }
}

/** A class of sessions: an adapter's host may need members of its own. */
export type SessionClass = new (state: SessionState, host: SessionHost, data: Data) => Session;

/**
 * A value that may replace the data of a session, which is left whole where it may not.
 * @throws {SessionError} `ERR_SESSION_ASSIGN`, `ERR_SESSION_RESERVED_KEY`
 */
export function assignable(value: unknown): Data {
  // An array or a session is no object of data: spreading it would store something else than was meant.
  if (typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Session)) {
    const data: Data = { ...value };
    refuseReserved(data);
    return data;
  }
  const received = Array.isArray(value) ? "an array" : value instanceof Session ? "a session" : `a ${typeof value}`;
  throw new SessionError(
    "ERR_SESSION_ASSIGN",
    `the session property can be set to null (logout) or to a plain object of data; received ${received}`,
  );
}

/** The session seen as its data alone. */
function ownDataOf(session: Session): Data {
  // Members are not enumerable and live on the prototype; what remains is data.
  return session as unknown as Data;
}

/**
 * Calls back once, outside the promise, so that a callback that throws is an uncaught exception as in all of Node.
 * A rejection nobody waits for must not end the process: the response's commit reports it.
 */
function nodeify<T>(promise: Promise<T>, callback: Callback<T> | undefined): Promise<T> {
  promise.then(
    (value) => typeof callback === "function" && process.nextTick(callback, null, value),
    (error: unknown) => typeof callback === "function" && process.nextTick(callback, error),
  );
  return promise;
}

/** Members can't be replaced: in sloppy mode a plain read-only property would drop the assignment in silence. */
function guardMembers(prototype: object): void {
  for (const name of reservedKeys) {
    const member = Object.getOwnPropertyDescriptor(prototype, name);
    Object.defineProperty(prototype, name, {
      configurable: true,
      enumerable: false,
      get: member?.get ?? (() => member?.value),
      set: member?.set ?? (() => refuseMember(name)),
    });
  }
}

guardMembers(Session.prototype);
// `session["__proto__"] = value` is data like any other key; the inherited setter would change the prototype.
Object.defineProperty(Session.prototype, "__proto__", {
  configurable: true,
  enumerable: false,
  get: () => undefined,
  set(this: Data, value: unknown) {
    setKey(this, "__proto__", value);
  },
});
