/** A small browser for tests: fetch with a cookie jar (names and values only), redirects not followed. */

import { noteCookie } from "./raw-ids.ts";

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
      status: response.status,
      headers: response.headers,
      setCookies: response.headers.getSetCookie(),
      text,
      json: <T>() => JSON.parse(text) as T, // the caller names the shape it expects and asserts on it
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
    return response;
  }
}
