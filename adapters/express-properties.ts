/**
 * `req.session` and `req.sessionID`: in Express once for all requests of the outermost app, as properties of its own
 * cost each of them a new hidden class; elsewhere on the request. Called by `express.ts`.
 */
import type { IncomingMessage } from "node:http";
import { visitOf } from "../src/index.ts";

/** What of Express is looked at: `request` is what an app's requests inherit from, and only version 4 has `lazyrouter`. */
export interface Application {
  request?: object;
  response?: object;
  parent?: Application;
  lazyrouter?: unknown;
}

/** A request that may be Express's. */
export interface Mounted {
  app?: Application;
}

const withProperties = new WeakSet<object>();

/** The app that a request came to first; `undefined`: not Express. */
export function outermostApp(request: Mounted): Application | undefined {
  let { app } = request;
  while (app?.parent !== undefined) app = app.parent;
  return app;
}

/** Makes the properties readable on `request`, of `app`, the outermost one. */
export function defineProperties(request: IncomingMessage, app: Application | undefined): void {
  const target = app?.request ?? request;
  if (withProperties.has(target)) return;
  if (target !== request) withProperties.add(target);
  Object.defineProperty(target, "session", sessionProperty);
  Object.defineProperty(target, "sessionID", sessionIdProperty);
}

const sessionProperty: PropertyDescriptor & ThisType<IncomingMessage> = {
  configurable: true,
  enumerable: true,
  get() {
    return visitOf(this)?.session;
  },
  set(value: unknown) {
    const visit = visitOf(this);
    if (visit === undefined) keep(this, "session", value);
    else visit.session = value;
  },
};

const sessionIdProperty: PropertyDescriptor & ThisType<IncomingMessage> = {
  configurable: true,
  enumerable: true,
  get() {
    return visitOf(this)?.peek()?.id;
  },
  set(value: unknown) {
    // The id of a session of ours is not to be set.
    if (visitOf(this) === undefined) keep(this, "sessionID", value);
  },
};

/** A request that never came by here: another session library's, on a route of its own. */
function keep(request: object, name: string, value: unknown): void {
  Object.defineProperty(request, name, { value, configurable: true, enumerable: true, writable: true });
}
