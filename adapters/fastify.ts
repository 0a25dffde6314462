/**
 * Fastify plugin, for Fastify 5: `await app.register(session, options)`. The session is loaded in `onRequest` and saved
 * in `onSend`, before the head leaves; what a stream, a hijacked reply or a client that went away left over is saved
 * when the response closes. Deciding anything about sessions is the engine's.
 */
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest, RegisterOptions } from "fastify";
import fastifyPlugin from "fastify-plugin";
import {
  createSessions,
  type Duration,
  freshnessGuard,
  isVisited,
  type SessionData,
  SessionError,
  type SessionOptions,
  type Sessions,
  visitOf,
} from "../src/index.ts";
import { Departure } from "./fastify-departure.ts";
import { FastifyExchange } from "./fastify-exchange.ts";
import { FastifySession, type FastifyUserSession } from "./fastify-session.ts";
import { whenOver } from "./response-over.ts";

export { passportDeserializer, passportSerializer, type StoredLogin } from "./fastify-passport.ts";
export type { FastifySession, FastifyUserSession, SessionAccess } from "./fastify-session.ts";

declare module "fastify" {
  interface FastifyRequest {
    /**
     * The session: its members, and your data. `request.session = null` ends it, an object replaces its data. It reads
     * `undefined` under `skip` and before this plugin's `onRequest`.
     */
    get session(): FastifyUserSession;
    set session(value: SessionData | null);
  }
}

/** What the plugin takes: an engine made once and shared, or the options for one of its own, closed with the app. */
export type SessionPluginOptions = { sessions: Sessions } | SessionOptions;

/**
 * The plugin. Registered again in an encapsulated context with another engine, that one is `request.session` there.
 * @throws {SessionError} `ERR_SESSION_OPTION`
 */
export const session: FastifyPluginAsync<SessionPluginOptions> = fastifyPlugin(plugin, {
  fastify: "5.x",
  name: "holdfast",
});
export default session;

/**
 * A hook for sensitive routes: `fastify.post("/email", { onRequest: requireFresh("15m") }, …)`, `preHandler` as well.
 * Passes where the user logged in (`renew()`) no longer ago; else the error handler gets `ERR_SESSION_NOT_FRESH` (401).
 * @throws {SessionError} `ERR_SESSION_OPTION`
 */
export function requireFresh(maxAge: Duration): (request: FastifyRequest) => Promise<void> {
  return freshnessGuard(maxAge);
}

/** On Fastify's request class where `session` is ours. */
const isDecorated = Symbol("holdfast.session");

async function plugin(fastify: FastifyInstance, options: SessionPluginOptions): Promise<void> {
  const sessions = "sessions" in options ? options.sessions : createSessions(withoutRouteOptions(options));
  // A property, not a WeakMap: that would keep every request alive until the next full garbage collection.
  const departureKey = Symbol("holdfast.departure");
  fastify.decorateRequest(departureKey, undefined);
  if (!fastify.hasRequestDecorator(isDecorated)) {
    // Throws FST_ERR_DEC_ALREADY_PRESENT where another plugin has put a session there.
    fastify.decorateRequest("session", accessor).decorateRequest(isDecorated, { getter: () => true });
  }

  fastify.addHook("onRequest", (request, reply, done) => {
    if (isVisited(request.raw, sessions)) return done();
    const visit = sessions.visit(new FastifyExchange(request, reply), { Session: FastifySession });
    if (visit.skipped) return done();
    const departure = new Departure(request, reply, visit);
    departuresOf(request)[departureKey] = departure;
    whenOver(reply.raw, () => departure.finish());
    return visit.begin() ?? done();
  });

  fastify.addHook("onSend", (request, _reply, payload, done) => {
    const departure = departuresOf(request)[departureKey];
    return departure === undefined ? done() : departure.leave(payload, done);
  });

  if (!("sessions" in options)) fastify.addHook("onClose", () => sessions.close());
}

/** Where each registration of the plugin keeps its own. */
function departuresOf(request: FastifyRequest): Record<symbol, Departure | undefined> {
  // Decorated above; Fastify's type does not know the key.
  return request as unknown as Record<symbol, Departure | undefined>;
}

/** What `register` takes for itself stands among a plugin's options. */
function withoutRouteOptions(options: SessionOptions & RegisterOptions): SessionOptions {
  const { prefix, logLevel, logSerializers, ...own } = options;
  return own;
}

const accessor = {
  getter(this: FastifyRequest): FastifyUserSession {
    // Made with FastifySession, or by another adapter in front; undefined and null are for whoever expects them.
    return visitOf(this)?.session as FastifyUserSession;
  },
  setter(this: FastifyRequest, value: unknown): void {
    const visit = visitOf(this);
    if (visit === undefined) {
      throw new SessionError("ERR_SESSION_NO_SESSION", "request.session was set too early: register the plugin first");
    }
    visit.session = value;
  },
};
