/**
 * holdfast: the engine and what it is made of, for apps, adapters, stores and tests. Frameworks have subpaths of their
 * own: `holdfast/express`, `holdfast/koa`, `holdfast/fastify`.
 */
export type { Codec, Data } from "./codec.ts";
export type { Outcome } from "./commit.ts";
export { type CompressedOptions, compressed } from "./compressed.ts";
export type { CookieInput, CookieOptions, PerRequest } from "./cookie-options.ts";
export type { ListedSession } from "./devices.ts";
export type * from "./endings.ts";
export { createSessions, Sessions, sessionsFrom } from "./engine.ts";
export { SessionError, type SessionErrorCode } from "./errors.ts";
export type { Listener, RejectReason, SessionEvents, SkipReason, StoreOperation } from "./events.ts";
export type { Exchange } from "./exchange.ts";
export type * from "./expiry-index.ts";
export { freshnessGuard, isFresh } from "./freshness.ts";
export { type Health, type HealthOptions, type HealthResponse, type HealthStatus, healthHandler } from "./health.ts";
export type { EndWatcher } from "./hearing.ts";
export type { Lifetimes } from "./lifetimes.ts";
export type { Description } from "./meta.ts";
export type { Duration } from "./option-checks.ts";
export type { ResolvedOptions, SessionOptions } from "./options.ts";
export type * from "./principal-index.ts";
export type { EvictableSession, LimitPolicy, SessionLimit } from "./principal-options.ts";
export type { Transform } from "./record.ts";
export type { SchemaOptions, SchemaResult, StandardSchema } from "./schema.ts";
export { sealed } from "./sealed.ts";
export type {
  Anomaly,
  AnomalyDecision,
  ClearSiteDataType,
  Describe,
  OnAnomaly,
  SecurityOptions,
} from "./security-options.ts";
export { type Callback, Session, type SessionClass } from "./session.ts";
export type { SessionCookie } from "./session-cookie.ts";
// `export *`: a module augmentation of "holdfast" reaches only what is re-exported this way.
export * from "./session-data.ts";
export { isVisited, peekSession, type RequestLike, sessionOf, visitOf } from "./session-of.ts";
export type { SessionHost, SessionState } from "./session-state.ts";
export type { SessionSnapshot } from "./snapshot.ts";
export type * from "./store.ts";
export { memoryStore } from "./stores/memory.ts";
export type { UserSession, Visit } from "./visit.ts";
