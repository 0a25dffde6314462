/**
 * A small browser for tests: fetch with a cookie jar (names and values only), redirects not followed. A test that never
 * looks at the status of an answer says that it does not matter, and fails where it is 400 or more: what a refused
 * request should have done would else be missed later, or never.
 */
import { afterEach } from "vitest";
import { failLate, wasHeldUp } from "./in-time.ts";
import { noteCookie } from "./raw-ids.ts";

/** Refusals that nobody has looked at, and what was asked. */
const unseen = new Map<Response, string>();

afterEach(() => {
  const missed = [...unseen].map(([{ status }, asked]) => ({ status, what: `${asked}: ${status}` }));
  unseen.clear();
  if (missed.length === 0) return;
  const what = `refused, and the test never looked at the status: ${missed.map((each) => each.what).join(", ")}`;
  if (missed.every(({ status }) => status === 503) && wasHeldUp()) failLate(what);
  throw new Error(what);
});

/** What came back, body read. */
export interface Answer {
  status: number;
  headers: Headers;
  /** The `Set-Cookie` lines, as sent. */
  setCookies: string[];
  text: string;
  /** The body as JSON; throws where it is none. */
  json<T = Record<string, unknown>>(): T;
}

/** Reads a `Set-Cookie` line: name, value, and whether it clears the cookie. */
export function readSetCookie(line: string): { name: string; value: string; clears: boolean; attributes: string[] } {
  const [pair = "", ...attributes] = line.split(";").map((part) => part.trim());
  const equals = pair.indexOf("=");
  const expires = attributes.find((attribute) => /^expires=/i.test(attribute))?.slice("expires=".length);
  const clears =
    attributes.some((attribute) => /^max-age=0$/i.test(attribute)) ||
    (expires !== undefined && Date.parse(expires) <= Date.now());
  const value = pair.slice(equals + 1);
  noteCookie(value);
  return { name: pair.slice(0, equals), value, clears, attributes };
}

/** Remembers cookies from answer to answer. */
export class Browser {
  readonly cookies: Map<string, string> = new Map();

  constructor(readonly url: string) {}

  /** The `Cookie` header that the next request carries; `undefined` without cookies. */
  get cookieHeader(): string | undefined {
    if (this.cookies.size === 0) return undefined;
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  }

  /** Another browser with the same cookies, for another server or for parallel requests. */
  at(url: string): Browser {
    const other = new Browser(url);
    for (const [name, value] of this.cookies) other.cookies.set(name, value);
    return other;
  }

  /** Requests `path`; resolves once the body is read and the jar updated. */
  async get(path: string, init: RequestInit = {}): Promise<Answer> {
    const response = await this.open(path, init);
    const text = await response.text();
    return {
      get status() {
        return response.status;
      },
      headers: response.headers,
      setCookies: response.headers.getSetCookie(),
      text,
      json: <T>() => parsed(text, () => `${path} answered ${response.status}`) as T, // the caller names the shape, and asserts on it
    };
  }

  /** As `get`, but resolves as soon as the head is there. */
  async open(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    const cookie = this.cookieHeader;
    if (cookie !== undefined && !headers.has("cookie")) headers.set("cookie", cookie);
    const response = await fetch(new URL(path, this.url), { redirect: "manual", ...init, headers });
    for (const line of response.headers.getSetCookie()) {
      const { name, value, clears } = readSetCookie(line);
      if (clears) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return watched(response, `${init.method ?? "GET"} ${path}`);
  }
}

/** What is no JSON is told with its status: of a store that was given up the page of an error is the first to be seen. */
function parsed(text: string, what: () => string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${what()} with what is no JSON: ${text.slice(0, 200)}`);
  }
}

/** Notes a refusal until its status is read. */
function watched(response: Response, asked: string): Response {
  const { status, ok } = response;
  if (status < 400) return response;
  unseen.set(response, asked);
  const seen = <T>(value: T) => ({
    get: () => {
      unseen.delete(response);
      return value;
    },
  });
  return Object.defineProperties(response, { status: seen(status), ok: seen(ok) });
}
