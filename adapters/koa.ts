/**
 * Koa middleware, for Koa 2 and 3: `app.use(session(options))`. Koa waits for its middleware before it answers, so the
 * session is saved after `await next()`, before anything has left; only a body that Koa streams, and a response that
 * the app writes by itself (`ctx.respond = false`), leave room for a change after that, which is saved at the end.
 * Deciding anything about sessions is the engine's.
 */
import type Koa from "koa";
import {
  type Duration,
  freshnessGuard,
  isVisited,
  type SessionData,
  SessionError,
  type SessionOptions,
  type Sessions,
  sessionsFrom,
  type UserSession,
  visitOf,
} from "../src/index.ts";
import { runAndCommit } from "./koa-commit.ts";
import { KoaExchange } from "./koa-exchange.ts";
import { whenOver } from "./response-over.ts";

declare module "koa" {
  interface ExtendableContext {
    /**
     * The session: its members, and your data. `ctx.session = null` ends it, an object replaces its data. It reads
     * `undefined` under `skip` and where `session()` has not run.
     */
    get session(): UserSession;
    set session(value: SessionData | null);
  }
}

/**
 * Makes the middleware. Mounted twice with one engine, the inner one passes the request through.
 * @throws {SessionError} `ERR_SESSION_OPTION`
 */
export function session(optionsOrSessions: SessionOptions | Sessions): Koa.Middleware {
  const sessions = sessionsFrom(optionsOrSessions);
  return async function holdfast(ctx, next) {
    if (isVisited(ctx.req, sessions)) return next();
    defineAccessor(ctx.app.context);
    const visit = sessions.visit(new KoaExchange(ctx));
    if (visit.skipped) return next();
    let isRunning = true;
    let isOver = false;
    whenOver(ctx.res, () => {
      isOver = true;
      // A handler whose client went away is still at work: what it changes is saved below.
      if (!isRunning) void visit.finish();
    });
    const loading = visit.begin();
    // Each await of what is there already costs a turn of the microtask queue.
    if (loading !== undefined) await loading;
    try {
      await runAndCommit(ctx, next, visit, sessions.options.cookie.name);
    } finally {
      isRunning = false;
      if (isOver) void visit.finish();
    }
  };
}

/**
 * A guard for sensitive routes: `router.post("/email", requireFresh("15m"), …)`. Passes where the user logged in
 * (`renew()`) no longer ago; else it throws `ERR_SESSION_NOT_FRESH` (401), to be turned into a login page.
 * @throws {SessionError} `ERR_SESSION_OPTION`
 */
export function requireFresh(maxAge: Duration): Koa.Middleware {
  const guard = freshnessGuard(maxAge);
  return async function holdfastFresh(ctx, next) {
    await guard(ctx);
    await next();
  };
}

const withAccessor = new WeakSet<object>();

/** `ctx.session`, once an app: an accessor of its own on every `ctx` would cost each request. */
function defineAccessor(context: object): void {
  if (withAccessor.has(context)) return;
  withAccessor.add(context);
  Object.defineProperty(context, "session", {
    configurable: true,
    get(this: Koa.Context) {
      return visitOf(this.req)?.session;
    },
    set(this: Koa.Context, value: unknown) {
      const visit = visitOf(this.req);
      if (visit === undefined) {
        throw new SessionError("ERR_SESSION_NO_SESSION", "ctx.session was set before session() ran: mount it earlier");
      }
      visit.session = value;
    },
  });
}
