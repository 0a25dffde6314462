/**
 * From a framework's request to its session: `sessionOf` loads it where needed, `peekSession` never throws. The visit
 * is kept beside Node's request object, not on it: a property more costs each request of Express a new hidden class.
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

const entries = new WeakMap<object, Entry>();

/** Node's request, or a framework's object that has it: Koa's `ctx` (`.req`), Fastify's `request` (`.raw`). */
export type RequestLike = IncomingMessage | { raw: IncomingMessage } | { req: IncomingMessage };

/** Notes the visit of `owner` (an engine) on a request; the last one mounted is the one that is found. */
export function register(raw: IncomingMessage, owner: object, visit: Visit): void {
  entries.set(raw, { owner, visit, outer: entries.get(raw) });
}

/** The visit of a request; with `owner`, only that engine's. */
export function visitOf(target: RequestLike, owner?: object): Visit | undefined {
  const entry =
    entryOf(target) ??
    ("raw" in target ? entryOf(target.raw) : undefined) ??
    ("req" in target ? entryOf(target.req) : undefined);
  if (owner === undefined) return entry?.visit;
  for (let mount = entry; mount !== undefined; mount = mount.outer) if (mount.owner === owner) return mount.visit;
  return undefined;
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

/** Looks under the object itself, then under what it inherits from: a library may have made its own of a request. */
function entryOf(target: object): Entry | undefined {
  for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at)) {
    const entry = entries.get(at);
    if (entry !== undefined) return entry;
  }
  return undefined;
}
