/**
 * What a response says about the session: `Set-Cookie`, `Cache-Control` and `Vary`, and a report where a cookie that is
 * due can't be set. Decides from the session's state; calls no store.
 */
import type { Context } from "./context.ts";
import { attributesFor, clearCookie, contradiction, setCookie, signCookie, valueFor, withSetCookie } from "./cookie.ts";
import type { Exchange } from "./exchange.ts";
import { durationOf } from "./option-checks.ts";
import type { SessionState } from "./session-state.ts";

/** Sends, re-sends or clears the cookie, where one of them is due. */
export function deliverCookie(exchange: Exchange, state: SessionState, browser: { hasCookie: boolean }): void {
  const { context } = state;
  if (state.phase === "live") {
    const maxAgeMs = cookieLifetime(exchange, state);
    const isDue = state.isCookieDue || (state.isExtended && maxAgeMs !== null) || isOverwritten(exchange, state);
    if (!isDue || context.endedIds.has(state.id)) return;
    const isSent = send(context, exchange, state.id, (attributes) => liveCookie(state, attributes, maxAgeMs));
    // What can't be sent was reported: a later commit of the same response can't send it either.
    state.isCookieDue = false;
    if (isSent) {
      state.isCookieSet = true;
      state.isClearDue = false;
      browser.hasCookie = true;
    }
    state.isExtended = false;
  } else if (state.isClearDue && browser.hasCookie) {
    state.isClearDue = false;
    const { cookie, clearSiteData } = context.options;
    const isSent = send(context, exchange, state.id, (attributes) => clearCookie(cookie.name, attributes));
    const isLogout = state.phase === "ended" && state.endReason === "logout";
    // What the app has set itself stands.
    if (!isSent || !isLogout || clearSiteData === undefined || exchange.getHeader("clear-site-data") !== undefined)
      return;
    exchange.setHeader("clear-site-data", clearSiteData);
  }
}

/** Whether the app's own `Set-Cookie` has replaced the session's, which an explicit save had put on this response. */
function isOverwritten(exchange: Exchange, state: SessionState): boolean {
  if (!state.isCookieSet || exchange.headersSent) return false;
  const start = `${state.context.options.cookie.name}=`;
  return ![exchange.getHeader("set-cookie") ?? []].flat().some((line) => String(line).startsWith(start));
}

/** Whether the browser keeps the cookie for a time of its own, which must be told when the session's is extended. */
export function isPersistent(exchange: Exchange, state: SessionState): boolean {
  return cookieLifetime(exchange, state) !== null;
}

/** `Vary: Cookie`: the response was made with the session (Flask's CVE-2023-30861). */
export function varyByCookie(exchange: Exchange): void {
  if (exchange.headersSent) return;
  const earlier = exchange.getHeader("vary");
  if (earlier === undefined) {
    exchange.setHeader("vary", "Cookie");
    return;
  }
  const list = Array.isArray(earlier) ? earlier.join(", ") : String(earlier);
  const names = list.split(",").map((name) => name.trim().toLowerCase());
  if (names.includes("cookie") || names.includes("*")) return;
  exchange.setHeader("vary", list === "" ? "Cookie" : `${list}, Cookie`);
}

type Attributes = ReturnType<typeof attributesFor>;

function liveCookie(state: SessionState, attributes: Attributes, maxAgeMs: number | null): string {
  const { cookie, secrets, route } = state.context.options;
  return setCookie(cookie.name, signCookie(state.secret, secrets, route), attributes, maxAgeMs);
}

/** Puts a cookie on the response; `false`: it could not, which was reported. */
function send(context: Context, exchange: Exchange, id: string, make: (attributes: Attributes) => string): boolean {
  const { cookie } = context.options;
  if (exchange.headersSent) {
    skip(
      context,
      id,
      "headers-sent",
      "the response's headers had left: change the session before, or await session.save()",
    );
    return false;
  }
  if (exchange.closed) {
    // Clients go away every day: an event, no warning.
    context.events.emit("cookieSkipped", { id, reason: "client-gone" });
    return false;
  }
  const attributes = attributesFor(cookie, exchange.raw, exchange.secure);
  const problem = contradiction(cookie.name, attributes);
  if (problem !== undefined) {
    skip(context, id, "insecure", `browsers refuse ${problem}: serve HTTPS, or trust the proxy that does`);
    return false;
  }
  if (attributes.secure && !exchange.secure) noticeInsecure(context);
  exchange.setHeader("set-cookie", withSetCookie(exchange.getHeader("set-cookie"), cookie.name, make(attributes)));
  // OWASP Session Management, "web content caching".
  const caching = exchange.getHeader("cache-control");
  if (caching === undefined) exchange.setHeader("cache-control", "no-store");
  else if (isShared(String(caching))) noticeShared(context);
  return true;
}

function skip(context: Context, id: string, reason: "headers-sent" | "insecure", cure: string): void {
  context.events.emit("cookieSkipped", { id, reason });
  context.notices.once("HOLDFAST_COOKIE_SKIPPED", `a session cookie could not be set: ${cure}`, reason);
}

/** Whether a shared cache may keep the response, and hand its cookie to others (RFC 9111 §5.2.2). */
function isShared(caching: string): boolean {
  return /\b(public|s-maxage)\b/i.test(caching) && !/\b(private|no-store)\b/i.test(caching);
}

function noticeShared(context: Context): void {
  context.notices.once(
    "HOLDFAST_COOKIE_CACHEABLE",
    "a response that sets the session cookie says in Cache-Control that shared caches may keep it: they would hand one user's session to others; say private or no-store, or leave the session alone there",
  );
}

function noticeInsecure(context: Context): void {
  context.notices.once(
    "HOLDFAST_COOKIE_INSECURE",
    "a Secure session cookie was sent over what looks like plain HTTP; a browser keeps it only if TLS ends at a proxy: then tell the framework to trust it (Express and Koa: trust proxy; Fastify: trustProxy)",
  );
}

/** The browser's lifetime of the cookie in ms, never beyond the absolute deadline; `null`: until it closes. */
function cookieLifetime(exchange: Exchange, state: SessionState): number | null {
  const { cookie } = state.context.options;
  const option = state.maxAge === undefined ? valueFor(cookie.maxAge, exchange.raw) : state.maxAge;
  if (option === null) return null;
  const lifetime = option === "ttl" ? state.idleMs : durationOf("cookie.maxAge", option);
  const absolute = state.known?.absoluteExpiresAt ?? null;
  return absolute === null ? lifetime : Math.max(0, Math.min(lifetime, absolute - state.context.store.now()));
}
