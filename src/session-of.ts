/**
 * From a framework's request to its session: `sessionOf` loads it where needed, `peekSession` never throws. The visit
 * is kept on Node's request object under a symbol. A WeakMap would keep each request, and all that it refers to, alive
 * for V8's minor collections: half of what a request allocates then lands in the old generation (decision 0038).
 */
import type { IncomingMessage } from "node:http";
import { SessionError } from "./errors.ts";
import type { UserSession, Visit } from "./visit.ts";

interface Entry {
  owner: object;
  visit: Visit;
  /** Another engine, mounted before. */
  outer: Entry | undefined;
}

const visitKey: unique symbol = Symbol("holdfast.visit");

interface Visited {
  [visitKey]?: Entry;
}

/** Node's request, or a framework's object that has it: Koa's `ctx` (`.req`), Fastify's `request` (`.raw`). */
export type RequestLike = IncomingMessage | { raw: IncomingMessage } | { req: IncomingMessage };

/** Notes the visit of `owner` (an engine) on a request; the last one mounted is the one that is found. */
export function register(raw: IncomingMessage, owner: object, visit: Visit): void {
  const outer = (raw as Visited)[visitKey];
  // Not enumerable: who prints or copies a request gets none of it.
  Object.defineProperty(raw, visitKey, { value: { owner, visit, outer }, configurable: true });
}

/** The visit of a request. */
export function visitOf(target: RequestLike): Visit | undefined {
  return (entryOf(target) ?? entryIn(target, "raw") ?? entryIn(target, "req"))?.visit;
}

/** Whether `owner` (an engine) has a visit of this request already: it is mounted twice. */
export function isVisited(raw: IncomingMessage, owner: object): boolean {
  for (let mount = entryOf(raw); mount !== undefined; mount = mount.outer) if (mount.owner === owner) return true;
  return false;
}

/**
 * The session of a request, loaded where it is not yet (`load: "lazy"`).
 * @throws {SessionError} `ERR_SESSION_NO_SESSION`; `ERR_SESSION_STORE…` (503) when the store failed
 */
export async function sessionOf(target: RequestLike): Promise<UserSession> {
  const visit = visitOf(target);
  if (visit !== undefined) return visit.load();
  throw new SessionError(
    "ERR_SESSION_NO_SESSION",
    "there is no session on this request: mount session() before the handler, and pass Express's req, Koa's ctx or Fastify's request",
  );
}

/** The session of a request if there is one to be had at once; never throws: for error pages. */
export function peekSession(target: RequestLike): UserSession | undefined {
  return visitOf(target)?.peek();
}

/** What the object has, or what it inherits from: a library may have made its own of a request. */
function entryOf(target: object): Entry | undefined {
  return (target as Visited)[visitKey]; // no other code knows the symbol
}

function entryIn(target: object, name: "raw" | "req"): Entry | undefined {
  const inner: unknown = Reflect.get(target, name);
  return typeof inner === "object" && inner !== null ? entryOf(inner) : undefined;
}
