/**
 * The middle of the Koa middleware: the rest of the app runs, the session is committed, and each error finds its way. A
 * handler's error keeps the session's cookie: Koa removes every header but those in `err.headers`. Called by `koa.ts`.
 */
import { format, types } from "node:util";
import type Koa from "koa";
import { SessionError, type Visit } from "../src/index.ts";

/**
 * Runs the rest of the app, then commits; both whatever the handler did.
 * @throws what the handler threw, with the session's cookie on it; else `SessionError` where the commit failed
 */
export async function runAndCommit(
  ctx: Koa.ParameterizedContext,
  next: Koa.Next,
  visit: Visit,
  cookieName: string,
): Promise<void> {
  try {
    await next();
  } catch (thrown) {
    const failure = await failureOf(visit.commit());
    // The handler's error is the one to answer; a load that failed is the same error again.
    if (failure !== undefined && failure !== thrown) ctx.app.emit("error", failure, ctx);
    throw withHeaders(thrown, keptHeaders(ctx, cookieName));
  }
  const committing = visit.commit();
  const failure = committing && (await failureOf(committing));
  if (failure === undefined) return;
  if (ctx.headerSent) {
    // Too late for a 503, and Koa does not end a response whose head has left when it is given an error.
    ctx.app.emit("error", failure, ctx);
    return;
  }
  // Whoever catches this on the way out must not send what the handler had answered.
  ctx.remove("content-type");
  ctx.body = null;
  ctx.status = failure instanceof SessionError ? failure.status : 500;
  // A renewal that went through before must reach the browser all the same: the old id is dead.
  throw withHeaders(failure, keptHeaders(ctx, cookieName));
}

/** Why a commit failed; `undefined`: it did not. */
async function failureOf(committing: Promise<void> | undefined): Promise<unknown> {
  try {
    await committing;
    return undefined;
  } catch (error) {
    return error;
  }
}

/** What the session put on the response and an error's answer must have too; empty where the session was not used. */
function keptHeaders(ctx: Koa.ParameterizedContext, cookieName: string): Record<string, string | string[]> {
  const all = [ctx.res.getHeader("set-cookie") ?? []].flat().map(String);
  const own = all.filter((cookie) => cookie.startsWith(`${cookieName}=`));
  if (own.length === 0) return /\bcookie\b/i.test(String(ctx.res.getHeader("vary"))) ? { vary: "Cookie" } : {};
  return { "cache-control": "no-store", vary: "Cookie", "set-cookie": own };
}

/** The thrown value with headers on it; where it can't have any, an error that stands for it, as Koa would make one. */
function withHeaders(thrown: unknown, kept: Record<string, string | string[]>): unknown {
  if (Object.keys(kept).length === 0) return thrown;
  const isError = types.isNativeError(thrown) || thrown instanceof Error;
  const given = isError && "headers" in thrown && typeof thrown.headers === "object" ? thrown.headers : {};
  const headers = { ...kept };
  for (const [name, value] of Object.entries(given ?? {})) {
    const key = name.toLowerCase();
    const isList = key === "set-cookie" || key === "vary";
    headers[key] = isList ? [...new Set([kept[key] ?? [], value].flat().map(String))] : value;
  }
  try {
    if (isError) return withHidden(thrown, headers);
  } catch {
    // Frozen, or its headers can't be set: below.
  }
  // Only a cookie is worth a stand-in: whoever catches on the way out gets what was thrown.
  if (kept["set-cookie"] === undefined) return thrown;
  const message = isError ? thrown.message : format("non-error thrown: %j", thrown);
  return withHidden(Object.assign(new Error(message, { cause: thrown }), isError ? thrown : {}), headers);
}

/** Koa reads the headers all the same, but who logs the error must not log the cookie. */
function withHidden(error: Error, headers: Record<string, unknown>): Error {
  return Object.defineProperty(error, "headers", {
    value: headers,
    enumerable: false,
    configurable: true,
    writable: true,
  });
}
