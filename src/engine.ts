/**
 * The engine: `createSessions(options)`. It wires the parts together and is what adapters, web sockets and management
 * code hold. It knows no framework.
 */
import type { IncomingMessage } from "node:http";
import type { Outcome } from "./commit.ts";
import type { Context } from "./context.ts";
import { Budget, isDoneBy } from "./deadline.ts";
import { detached } from "./detached.ts";
import { endAll, endOne, idOf, type ListedSession, list } from "./devices.ts";
import { contextFor } from "./engine-context.ts";
import type { Listener, SessionEvents } from "./events.ts";
import type { Exchange } from "./exchange.ts";
import { Expiry, noExpiredEvents } from "./expiry.ts";
import { readSaved } from "./following.ts";
import { type Health, NodeHealth } from "./health.ts";
import { type EndWatcher, Hearing } from "./hearing.ts";
import { type Duration, durationOf } from "./option-checks.ts";
import { type ResolvedOptions, resolveOptions, type SessionOptions } from "./options.ts";
import type { Session, SessionClass } from "./session.ts";
import { register } from "./session-of.ts";
import { type SessionSnapshot, snapshotOf } from "./snapshot.ts";
import type { Store } from "./store.ts";
import { memoryStore } from "./stores/memory.ts";
import { type UserSession, Visit } from "./visit.ts";

/** One engine. Make it once and share it: `session(sessions)` in Express and Koa, `{ sessions }` in Fastify. */
export class Sessions {
  /** The options as resolved: frozen, times in ms. */
  readonly options: ResolvedOptions;
  #context: Context;
  readonly #health: NodeHealth;
  readonly #hearing: Hearing;
  readonly #expiry: Expiry;
  readonly #byObject = new WeakMap<Session, Visit>();
  #closing: Promise<void> | undefined;

  constructor(options: ResolvedOptions) {
    this.options = options;
    this.#context = contextFor(options, options.store ?? memoryStore());
    this.#health = new NodeHealth(() => this.#ask());
    this.#hearing = new Hearing(this.#context);
    this.#expiry = new Expiry(this.#context);
    holders.set(this.#context.store, (holders.get(this.#context.store) ?? 0) + 1);
  }

  /** One request's visit: what adapters hold. `kind`: a class of sessions with members of the host's own. */
  visit(exchange: Exchange, kind?: { Session: SessionClass }): Visit {
    const visit = new Visit(this.#context, exchange, kind?.Session);
    register(exchange.raw, this, visit);
    return visit;
  }

  /**
   * Opens the session of one exchange, for hosts without an adapter.
   * @throws {SessionError} `ERR_SESSION_STORE…`
   */
  async open(exchange: Exchange): Promise<UserSession> {
    const visit = this.visit(exchange);
    const session = await visit.load();
    this.#byObject.set(session, visit);
    return session;
  }

  /**
   * Commits a session that `open` or `fromRequest` gave, before the response leaves.
   * @throws {SessionError} `ERR_SESSION_STORE…`, `ERR_SESSION_VALUE`, …
   */
  async commit(session: Session): Promise<Outcome> {
    const visit = this.#byObject.get(session);
    if (visit === undefined) return session.save();
    await visit.commit();
    return visit.outcome;
  }

  /**
   * The session of a request whose response is not ours: a web-socket upgrade, a plain `node:http` read. Sets no cookie,
   * so save only what exists (`isNew` is `false`).
   * @throws {SessionError} `ERR_SESSION_STORE…`
   */
  async fromRequest(request: IncomingMessage): Promise<UserSession> {
    const budget = this.#budget();
    const visit = new Visit(this.#context, detached(request), undefined, budget);
    const session = await visit.load();
    // No response waits for it from here on: a socket may use its session as long as it likes.
    budget.release();
    this.#byObject.set(session, visit);
    return session;
  }

  /**
   * Reads a session by its public id; `undefined`: none is alive (or its record is garbage). Where a timed rotation gave
   * it a new id, the snapshot has that.
   * @throws {SessionError} `ERR_SESSION_STORE…`
   */
  async get(id: string): Promise<SessionSnapshot | undefined> {
    return snapshotOf(this.#context, await readSaved(this.#context, this.#budget(), id));
  }

  /**
   * Ends a session by its public id (`"revoked"`): effective at every node's next read. Resolves to whether it ended a
   * live one. `principal`: only if it is that user's; another's is left alone, and answered as one that is none.
   * @throws {SessionError} `ERR_SESSION_STORE…`
   */
  async destroy(id: string, options: { principal?: string | number } = {}): Promise<boolean> {
    return endOne(this.#context, this.#budget(), id, options.principal);
  }

  /**
   * The live sessions of a user, the last seen first: "your devices". `current`: the request's session, which is marked.
   * Costs one call of the index and one read a session, however many sessions others have.
   * @throws {SessionError} `ERR_SESSION_PRINCIPAL`, `ERR_SESSION_STORE…`
   */
  list(principal: string | number, options: { current?: Session | string } = {}): Promise<ListedSession[]> {
    return list(this.#context, this.#budget(), principal, options.current);
  }

  /**
   * Ends all sessions of a user but `except`: "log out everywhere else". Effective at every node's next read, and for
   * logins under way, which fail with `ERR_SESSION_GONE`. Resolves to how many sessions it ended.
   * @throws {SessionError} `ERR_SESSION_PRINCIPAL`, `ERR_SESSION_STORE…`: some may live still, call it again
   */
  destroyAll(principal: string | number, options: { except?: Session | string } = {}): Promise<number> {
    return endAll(this.#context, this.#budget(), principal, options.except);
  }

  /**
   * Tells once when a session ends, on whatever node: for web sockets. The watch follows a timed rotation, ends with
   * `renew()` (`"renewed"`: let the client connect again), and looks the session up now, at its deadline (`"expired"`,
   * up to a second late), and again after each time that this node was cut off. Returns the function that ends the watch.
   */
  watch(id: Session | string, watcher: EndWatcher): () => void {
    return this.#hearing.watch(idOf(id), watcher);
  }

  /**
   * Listens to an event; returns the function that ends the subscription. `destroyed` opens a connection to hear of other
   * nodes' ends, and `expired` begins to look for what is due.
   * @throws {SessionError} `ERR_SESSION_OPTION` for `expired` without the option `expiredEvents`
   */
  on<K extends keyof SessionEvents>(name: K, listener: Listener<K>): () => void {
    if (name === "expired") {
      if (!this.options.expiredEvents) throw noExpiredEvents();
      this.#expiry.begin();
    }
    if (name === "destroyed") this.#hearing.begin();
    return this.#context.events.on(name, listener);
  }

  /** What a health check is told (`healthHandler`). Synchronous: the store is asked in passing, at most once a second. */
  health(): Health {
    return { status: this.#health.status, store: this.#health.store, inFlight: this.#context.inFlight.size };
  }

  /**
   * Asks the load balancer to send nobody any more, and resolves when it has had the time to notice: health is
   * `"draining"` (404: no new clients) for `notice`, then `"leaving"` (503: nobody) for as long. The node serves whoever
   * comes all the while, new sessions included. Then close the server, then `close()`. A second call joins the first.
   *
   * `notice`: how long the balancer takes to notice, its check interval times the checks that it wants to see fail.
   * @default "6s", HAProxy's `inter 2s fall 3`
   * @throws {SessionError} `ERR_SESSION_OPTION`
   */
  drain({ notice = "6s" }: { notice?: Duration } = {}): Promise<void> {
    return this.#health.drain(durationOf("notice", notice, 0));
  }

  /**
   * Ends the engine. Requests that came before are waited for until they have committed, and so are operations, saves in
   * the background and listeners of `expired`, `timeout` at most (@default "10s"); then the store is released, once the
   * last engine that uses it is closed: its timers and connections of its own. Requests that come later still find and
   * save the sessions that there are, as long as the store answers; one that would begin a session fails with
   * `ERR_SESSION_CLOSED` (503). What a response that still streams changes is lost, and reported: close the server first.
   * A second call joins the first.
   * @throws {SessionError} `ERR_SESSION_OPTION`
   */
  close({ timeout = "10s" }: { timeout?: Duration } = {}): Promise<void> {
    this.#closing ??= this.#close(performance.now() + durationOf("timeout", timeout, 0));
    return this.#closing;
  }

  async #close(deadline: number): Promise<void> {
    const { background, breakers, inFlight, notices, store } = this.#context;
    this.#context = { ...this.#context, opensSessions: false };
    this.#health.close();
    const settled = Promise.all([inFlight.settled(), background.drained()]);
    if (!(await isDoneBy(deadline, settled))) {
      notices.once(
        "HOLDFAST_CLOSE",
        `close(): ${inFlight.size} requests or saves were still under way when its timeout had passed; close the server first, or raise the timeout`,
      );
    }
    await Promise.all([isDoneBy(deadline, this.#hearing.close()), this.#expiry.close(deadline)]);
    breakers.close();
    const left = (holders.get(store) ?? 1) - 1;
    holders.set(store, left);
    if (left === 0) await isDoneBy(deadline, Promise.resolve(store.close?.()));
  }

  /** Asks for a record that is nobody's, past the breakers: a health check must not open one. */
  #ask(): Promise<unknown> {
    const { store } = this.#context;
    return this.#budget().spend((deadline) => store.read("health", { deadline, durable: false }));
  }

  #budget(): Budget {
    return new Budget(this.options.storeTimeoutMs);
  }
}

/** How many engines use a store: the last one to close releases it. */
const holders = new WeakMap<Store, number>();

/**
 * Makes an engine.
 * @throws {SessionError} `ERR_SESSION_OPTION`
 */
export function createSessions(options: SessionOptions): Sessions {
  return new Sessions(resolveOptions(options));
}

/** What adapters take: an engine, or the options for one. @throws {SessionError} `ERR_SESSION_OPTION` */
export function sessionsFrom(given: SessionOptions | Sessions): Sessions {
  return given instanceof Sessions ? given : createSessions(given);
}
