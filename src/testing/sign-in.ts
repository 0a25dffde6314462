/**
 * A stored session and the cookie header that names it, made without a request: for tests of apps with supertest,
 * `inject` or `fetch`.
 */
import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import type { Duration, Exchange, SessionData, Sessions } from "../index.ts";

/** How the session is made. */
export interface SignInOptions {
  /** `session.cookie.maxAge` of it. */
  maxAge?: Duration | null;
}

/** A stored session, and how a request names it. */
export interface SignedIn {
  /** Public id. */
  id: string;
  /** The value of a `Cookie` header: `.set("Cookie", cookie)` in supertest. */
  cookie: string;
  /** The header alone: `inject({ headers })`, `fetch(url, { headers })`. */
  headers: { cookie: string };
}

/**
 * Stores a session with `data` as a login would have, and gives its cookie.
 * @param sessions the app's own engine: `createSessions(options)`, handed to the adapter as well
 * @throws {SessionError} what `session.save()` throws
 */
export async function signIn(
  sessions: Sessions,
  data: SessionData & Record<string, unknown>,
  options: SignInOptions = {},
): Promise<SignedIn> {
  const headers = new Map<string, string | string[]>();
  const exchange: Exchange = {
    cookieHeader: undefined,
    secure: true,
    address: undefined,
    headersSent: false,
    getHeader: (name) => headers.get(name),
    setHeader: (name, value) => void headers.set(name, value),
    raw: new IncomingMessage(new Socket()),
  };
  const session = await sessions.open(exchange);
  // A login, for whoever asks when there was one.
  await session.renew();
  Object.assign(session, data);
  if (options.maxAge !== undefined) session.cookie.maxAge = options.maxAge;
  await session.save();
  const cookie = String(headers.get("set-cookie")).split(";", 1).join();
  return { id: session.id, cookie, headers: { cookie } };
}
