/**
 * Express middleware: `app.use(session(options))`. It uses Node's API only, so it serves Express 4 and 5, connect,
 * NestJS (`app.use`), socket.io (`io.engine.use`), plain `node:http` and `node:http2` alike. The response gate makes
 * the response wait for the save; deciding anything about sessions is the engine's.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import {
  type Duration,
  freshnessGuard,
  isVisited,
  type SessionData,
  type SessionOptions,
  type Sessions,
  sessionsFrom,
  type UserSession,
} from "../src/index.ts";
import { defineProperties, type Mounted, outermostApp } from "./express-properties.ts";
import { NodeExchange } from "./node-exchange.ts";
import { ResponseGate } from "./response-gate.ts";

declare global {
  namespace Express {
    interface Request {
      /**
       * The session: its members, and your data. `req.session = null` ends it, an object replaces its data. It reads
       * `undefined` under `skip`.
       * @throws {SessionError} the failure of the load (503); `ERR_SESSION_NOT_LOADED` under `load: "lazy"`
       */
      get session(): UserSession;
      set session(value: SessionData | null);
      /** The session's public id; `undefined` without a session. */
      readonly sessionID: string | undefined;
    }
  }
}

/** What Express, connect, NestJS and engine.io call, and plain `node:http` by hand. */
export type Middleware = (
  request: IncomingMessage | Http2ServerRequest,
  response: ServerResponse | Http2ServerResponse,
  next: (error?: unknown) => void,
) => void;

/**
 * Makes the middleware. Mounted twice with one engine, the inner one passes the request through; with another engine
 * (another cookie) the inner one takes over `req.session`, and both are saved.
 *
 * A load that failed is thrown at the first access to `req.session` in Express 5. Elsewhere it goes to `next(error)` at
 * once: Express 4 and connect don't catch what an async handler throws.
 * @throws {SessionError} `ERR_SESSION_OPTION`
 */
export function session(optionsOrSessions: SessionOptions | Sessions): Middleware {
  const sessions = sessionsFrom(optionsOrSessions);
  return function holdfast(given, response, next) {
    // HTTP/2's compatibility request has all that is read here: headers and the socket.
    const request = given as IncomingMessage & Mounted;
    if (isVisited(request, sessions)) return next();
    const exchange = new NodeExchange(request, response);
    const visit = sessions.visit(exchange);
    if (visit.skipped) return next();
    const app = outermostApp(request);
    exchange.response = new ResponseGate(response, visit, next, app?.response);
    defineProperties(request, app);
    const loading = visit.begin();
    if (loading === undefined) return next();
    loading.then(() => {
      if (visit.failure !== undefined && !throwsAtAccess(request)) next(visit.failure);
      else next();
    });
  };
}

function throwsAtAccess({ app }: Mounted): boolean {
  return app !== undefined && typeof app.lazyrouter !== "function";
}

/**
 * A guard for sensitive routes: `app.post("/email", requireFresh("15m"), …)`. Passes where the user logged in (`renew()`)
 * no longer ago; else `next(error)` with `ERR_SESSION_NOT_FRESH` (401), for an error handler to turn into a login page.
 * @throws {SessionError} `ERR_SESSION_OPTION`
 */
export function requireFresh(maxAge: Duration): Middleware {
  const guard = freshnessGuard(maxAge);
  return function holdfastFresh(request, _response, next) {
    // As above: HTTP/2's request serves as well.
    guard(request as IncomingMessage).then(() => next(), next);
  };
}
