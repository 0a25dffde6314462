/**
 * What every adapter must do, framework by framework the same: one table of routes and expectations, run by
 * `test/adapters/<framework>.test.ts` with a driver of about 40 lines. Knows no framework itself; the rows are in
 * `adapter-*.ts` beside this file.
 *
 * A driver, in full (Koa; `listen` is `test/support/listen.ts`):
 *
 * ```ts
 * adapterContract({
 *   name: "Koa 3",
 *   failsAtAccess: true,
 *   async start(plan) {
 *     const app = new Koa();
 *     app.silent = true;
 *     const send = (ctx: Koa.Context, reply: Reply): void => {
 *       ctx.status = reply.status;
 *       ctx.set(reply.headers);
 *       ctx.body = reply.body;                       // undefined, string, object (JSON) or Readable
 *     };
 *     if (plan.onError) app.use(async (ctx, next) => {  // the app's own error page; without one: the framework's
 *       try { await next(); } catch (error) { send(ctx, answer(plan.onError(error, routeContext(ctx, ctx, ctx.url)))); }
 *     });
 *     app.use(session(plan.session));
 *     app.use(async (ctx) => {
 *       const route = plan.routes[ctx.path];
 *       if (route) send(ctx, answer(await route(routeContext(ctx, ctx, ctx.url))));
 *     });
 *     return listen(createServer(app.callback()));
 *   },
 * });
 * ```
 */

import type { Readable } from "node:stream";
import { describe } from "vitest";
import type { Session, SessionData, SessionOptions, Sessions, sessionOf } from "../../src/index.ts";
import type { RunningApp } from "../support/listen.ts";
import { cookieRows } from "./adapter-cookies.ts";
import { dataRows } from "./adapter-data.ts";
import { failureRows } from "./adapter-failures.ts";
import { lifecycleRows } from "./adapter-lifecycle.ts";
import { raceRows } from "./adapter-races.ts";
import { redisRows } from "./adapter-redis.ts";
import { responseRows } from "./adapter-responses.ts";

/** The session as routes see it: its members, and any data key. */
export type TestSession = Session & SessionData & Record<string, unknown>;

/** What `sessionOf` and `peekSession` take in the framework at hand: Express's `req`, Koa's `ctx`, Fastify's request. */
export type SessionTarget = Parameters<typeof sessionOf>[0];

/** What a route gets, in every framework alike. */
export interface RouteContext {
  /** Reads and assigns the framework's own property (`req.session`, `ctx.session`, `request.session`). */
  get session(): TestSession;
  set session(value: unknown);
  /** Hand this to `sessionOf` and `peekSession`. */
  readonly target: SessionTarget;
  readonly query: URLSearchParams;
}

/** What a route answers; the driver sends it the way its framework's users would. */
export interface Reply {
  readonly status: number;
  readonly headers: Record<string, string>;
  /** `undefined`: no body. A string is text, an object JSON, a Readable a stream. */
  readonly body: string | object | Readable | undefined;
}

/**
 * A route. It may answer or throw, synchronously (the driver must then send in the same tick) or later. A bare string
 * or object is a 200 with that body.
 */
export type Route = (context: RouteContext) => RouteAnswer | Promise<RouteAnswer>;

/** A full or partial reply, or just its body. */
export type RouteAnswer = string | Partial<Reply> | { json: object };

/** The app that a row asks for. */
export interface AppPlan {
  /** Handed to the adapter as it stands. */
  readonly session: SessionOptions | Sessions;
  /** By exact path, whatever the method (HEAD and POST too). Other paths: the framework's 404. */
  readonly routes: Record<string, Route>;
  /** The app's error page; without it the framework's default one. */
  readonly onError?: (error: unknown, context: RouteContext) => RouteAnswer;
}

/** All that the contract needs to know of a framework. */
export interface AdapterDriver {
  readonly name: string;
  /**
   * `true`: a failed load fails the routes that touch the session and no other (Express 5, Koa, Fastify).
   * `false`: it fails every route (Express 4, connect, plain http).
   */
  readonly failsAtAccess: boolean;
  /** Mounts the adapter and the routes, and listens on a free port (`listen()`). */
  start(plan: AppPlan): Promise<RunningApp>;
}

/** Makes a full reply of what a route answered. */
export function answer(given: RouteAnswer): Reply {
  if (typeof given === "string") return { status: 200, headers: {}, body: given };
  if ("json" in given) return { status: 200, headers: {}, body: given.json };
  return { status: given.status ?? 200, headers: given.headers ?? {}, body: given.body };
}

/**
 * Makes a route's context.
 *
 * @param holder - what carries the `session` property
 * @param target - what users hand to `sessionOf`
 * @param url - the request's target, with its query
 */
export function routeContext(holder: object, target: SessionTarget, url: string): RouteContext {
  const property = holder as { session: unknown }; // the adapter under test has put it there
  return {
    get session(): TestSession {
      return property.session as TestSession; // rows that expect undefined or null compare it, and do no more
    },
    set session(value: unknown) {
      property.session = value;
    },
    target,
    query: new URL(url, "http://localhost").searchParams,
  };
}

/** Runs every row of the contract. Call it once, at the top level of a test file. */
export function adapterContract(driver: AdapterDriver): void {
  describe(`${driver.name} keeps the adapter contract`, () => {
    dataRows(driver);
    lifecycleRows(driver);
    cookieRows(driver);
    responseRows(driver);
    failureRows(driver);
    raceRows(driver);
    redisRows(driver);
  });
}
