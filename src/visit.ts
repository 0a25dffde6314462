/**
 * One request's visit to its session: loaded at arrival or on demand, settled when the response is about to leave, looked
 * at once more when it has. Adapters hold one a request; it orders operations, and knows HTTP only by the Exchange.
 */
import type { Arrival } from "./arrival.ts";
import type { Data } from "./codec.ts";
import { type Outcome, save } from "./commit.ts";
import type { Context } from "./context.ts";
import { Budget } from "./deadline.ts";
import { deliverCookie, varyByCookie } from "./departure.ts";
import { noSession, SessionError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { changeOf, type Leaving, leaveUnchanged, noticeLate, saveInBackground, unknownChange } from "./leaving.ts";
import { Loading } from "./loading.ts";
import { decode, emptyState, mayBeWorkDue, stateOf } from "./materialise.ts";
import { Operations } from "./operations.ts";
import type { Content } from "./record.ts";
import { destroy } from "./rotation.ts";
import { assignable, Session, type SessionClass } from "./session.ts";
import type { SessionData } from "./session-data.ts";
import type { SessionHost, SessionState } from "./session-state.ts";

/** The session as the user has it: members and data. */
export type UserSession = Session & SessionData;

/** One request's session, from arrival to the end of its response. */
export class Visit implements SessionHost {
  readonly #context: Context;
  readonly #exchange: Exchange;
  readonly #SessionClass: SessionClass;
  readonly #budget: Budget;
  /** Made when first needed: most requests run none. */
  #operations: Operations | undefined;
  /** `skip` said no: there is no session here, and the response is none of ours. */
  readonly skipped: boolean;
  /** What the last commit came to. */
  outcome: Outcome = "unchanged";
  readonly #loading = new Loading();
  #state: SessionState | undefined;
  #session: Session | undefined;
  /** `session = null` was assigned. */
  #isNull = false;
  #settling: Promise<void> | undefined;
  #isSettled = false;
  #hasFailed = false;
  /** Between arrival and commit. */
  #depart: (() => void) | undefined;
  #isAccessed = false;

  /** `budget`: how long the visit may wait for the store, where that is not one request's to say. */
  constructor(
    context: Context,
    exchange: Exchange,
    SessionClass: SessionClass = Session,
    budget: Budget = new Budget(context.options.storeTimeoutMs),
  ) {
    this.#context = context;
    this.#exchange = exchange;
    this.#SessionClass = SessionClass;
    this.#budget = budget;
    this.skipped = context.options.skip?.(exchange.raw) === true;
  }

  /** At arrival: loads unless lazy. Never rejects; `undefined`: there is nothing to wait for. */
  begin(): Promise<void> | undefined {
    if (this.skipped) return undefined;
    // Of a stub nobody hears whether it ever leaves.
    if (this.#exchange.closed !== undefined) this.#depart ??= this.#context.inFlight.begin();
    return this.#context.options.load === "lazy" ? undefined : this.#load();
  }

  /** Why the load failed; `session` throws it. */
  get failure(): SessionError | undefined {
    return this.#loading.failure;
  }

  /**
   * What the session property reads: `undefined` under `skip`, `null` after `= null`.
   * @throws {SessionError} the load's failure, or `ERR_SESSION_NOT_LOADED`
   */
  get session(): UserSession | null | undefined {
    if (this.skipped) return undefined;
    if (this.#isNull) return null;
    const { arrival, failure } = this.#loading;
    if (failure !== undefined) throw failure;
    if (arrival === undefined) {
      throw new SessionError(
        "ERR_SESSION_NOT_LOADED",
        'the session is not loaded: with load: "lazy" write `const session = await sessionOf(request)` first',
      );
    }
    this.#isAccessed = true;
    this.#session ??= this.#materialise(arrival);
    // The type of the data is the user's own promise.
    return this.#session as UserSession;
  }

  /**
   * What assigning the session property does: `null` ends the session, an object replaces its data.
   * @throws {SessionError} `ERR_SESSION_ASSIGN`
   */
  set session(value: unknown) {
    if (value === null) this.#assignNull();
    else this.#assignData(assignable(value));
  }

  /** Loads where needed. @throws {SessionError} `ERR_SESSION_NO_SESSION`, and the load's failure */
  async load(): Promise<UserSession> {
    if (this.skipped) throw noSession("skip() left this request out");
    await this.#load();
    const { session } = this;
    if (session) return session;
    throw noSession("this request's session was set to null");
  }

  /** The session if there is one to be had at once; never throws. For error pages. */
  peek(): UserSession | undefined {
    return this.#loading.arrival === undefined ? undefined : (this.session ?? undefined);
  }

  /**
   * When the head is about to leave: settles what is pending, saves, touches, and sets the headers. `undefined`: done
   * already. After a rejection the next call settles quietly: the error page goes out.
   */
  commit(): Promise<void> | undefined {
    if (this.skipped || this.#hasFailed) return undefined;
    if (this.#settling !== undefined) return this.#settling;
    try {
      const left = this.#leave();
      if (left === undefined) this.#depart?.();
      return left?.then(this.#depart, (error: unknown) => this.#fail(error));
    } catch (error) {
      // A cookie's attribute may be a function of the user's.
      return this.#fail(error);
    }
  }

  #leave(): Promise<void> | undefined {
    const isFirst = !this.#isSettled;
    this.#isSettled = true;
    if (this.#session === undefined || this.#state === undefined) {
      return isFirst ? this.#leaveUntouched() : undefined;
    }
    if (this.#isAccessed) varyByCookie(this.#exchange);
    this.#isAccessed = false;
    const due = this.#operations?.isPending ? unknownChange : changeOf(this.#state);
    if (due === undefined) return leaveUnchanged(this.#leaving(this.#state), isFirst);
    const inBackground = this.#operations?.isPending ? undefined : saveInBackground(this.#leaving(this.#state));
    this.#settling = (inBackground ?? this.#settle(due.content)).finally(() => {
      this.#settling = undefined;
    });
    return inBackground === undefined ? this.#settling : undefined;
  }

  /**
   * After the response ended or the client went away: saves what changed since the commit, be it through a reference
   * that the handler kept. Never rejects; `undefined`: nothing can have changed.
   */
  finish(): Promise<void> | undefined {
    this.#budget.release();
    // What changed while a save was under way is not in it.
    const last = this.#settling === undefined ? this.commit() : this.#settling.then(() => this.commit());
    return last?.catch((error: unknown) => noticeLate(this.#context, error));
  }

  /** For the session: runs one operation on it, after those begun before. */
  run<T>(name: string, operation: (budget: Budget) => Promise<T>): Promise<T> {
    if (this.#exchange.headersSent) this.#budget.release();
    this.#operations ??= new Operations(this.#budget, () => this.#deliver());
    return this.#context.inFlight.during(this.#operations.run(name, operation));
  }

  /** For the session: `state` is the request's session from now on. */
  adopt(state: SessionState): void {
    this.#state = state;
    this.#session = new this.#SessionClass(state, this, state.data);
  }

  #load(): Promise<void> | undefined {
    return this.#loading.begin(this.#context, this.#budget, this.#exchange);
  }

  #materialise(arrival: Arrival): Session {
    if (arrival.kind === "live") this.#state ??= stateOf(this.#context, this.#exchange, arrival);
    let data = this.#state === undefined ? undefined : decode(this.#context, this.#exchange, this.#state);
    if (this.#state === undefined || data === undefined) {
      this.#state = emptyState(this.#context, this.#exchange, arrival);
      data = {};
    }
    return new this.#SessionClass(this.#state, this, data);
  }

  #assignNull(): void {
    if (!this.session) return;
    void this.session.destroy();
    this.#isNull = true;
  }

  #assignData(data: Data): void {
    if (this.#isNull) {
      // The end of the old session is under way; the browser's cookie goes even if this one is never stored.
      const state = emptyState(this.#context, this.#exchange, { kind: "none" });
      state.isClearDue = true;
      this.adopt(state);
      this.#isNull = false;
    }
    if (this.session) this.#state?.replaceData(data);
  }

  /** Nobody looked at the session: no decoding, no encoding; a touch where it is due. */
  #leaveUntouched(): Promise<void> | undefined {
    const { arrival } = this.#loading;
    if (arrival?.kind !== "live") return undefined;
    if (!arrival.isOutdated && !arrival.isLedOn && !mayBeWorkDue(this.#context, arrival.record)) return undefined;
    this.#state ??= stateOf(this.#context, this.#exchange, arrival);
    return this.#state === undefined ? undefined : leaveUnchanged(this.#leaving(this.#state), true);
  }

  async #settle(change: Content | undefined): Promise<void> {
    // In the same tick where nothing runs: `change` is the data as they are.
    if (this.#operations?.isRunning) await this.#operations.idle();
    const state = this.#state;
    if (state === undefined) return;
    if (state.isEndDue) {
      await destroy(state, this.#budget);
      this.#operations?.forget("destroy");
    }
    // The save below makes a failed one good; nothing makes a failed login good: its data must not reach the old id.
    this.#operations?.forget("save", ...(state.phase === "degraded" ? ["update", "reload", "touch"] : []));
    this.#operations?.throwUnfinished();
    this.outcome = await save(state, this.#budget, false, change);
    await leaveUnchanged(this.#leaving(state), this.outcome === "unchanged");
  }

  async #fail(error: unknown): Promise<never> {
    this.#hasFailed = true;
    this.#depart?.();
    throw error;
  }

  #leaving(state: SessionState): Leaving {
    return { state, exchange: this.#exchange, budget: this.#budget, browser: this.#loading };
  }

  #deliver(): void {
    // The head may leave without a commit: the app answers by hand after `save()`.
    if (this.#isAccessed) varyByCookie(this.#exchange);
    if (this.#state !== undefined) deliverCookie(this.#exchange, this.#state, this.#loading);
  }
}
