/**
 * The engine without a server: an Exchange made of plain values, and a client that carries its cookie from one to the
 * next. For tests of the engine alone; adapters are tested over sockets.
 */
import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import type { Exchange, Sessions, UserSession, Visit } from "../../src/index.ts";
import { readSetCookie } from "./browser.ts";

/** An exchange whose response headers can be read, and whose head can be said to have left. */
export interface FakeExchange extends Exchange {
  headersSent: boolean;
  readonly headers: Map<string, string | string[]>;
  /** The `Set-Cookie` lines so far. */
  readonly setCookies: string[];
}

/** One request that carries `cookieHeader`. */
export function fakeExchange(cookieHeader?: string, secure = false): FakeExchange {
  const headers = new Map<string, string | string[]>();
  return {
    cookieHeader,
    secure,
    address: "192.0.2.1",
    headersSent: false,
    headers,
    get setCookies() {
      const lines = headers.get("set-cookie") ?? [];
      return Array.isArray(lines) ? lines : [lines];
    },
    getHeader: (name) => headers.get(name),
    setHeader: (name, value) => void headers.set(name, value),
    raw: new IncomingMessage(new Socket()),
  };
}

/** One request in progress. */
export interface Request {
  visit: Visit;
  exchange: FakeExchange;
  session: UserSession & Record<string, unknown>;
}

/** A client with one cookie; each `request` is committed and its cookie kept. */
export class Client {
  cookie: string | undefined;

  constructor(
    readonly sessions: Sessions,
    cookie?: string,
  ) {
    this.cookie = cookie;
  }

  /** Arrives: loads the session, as an adapter does before the handler. */
  async arrive(secure = false): Promise<Request> {
    const exchange = fakeExchange(this.cookie, secure);
    const visit = this.sessions.visit(exchange);
    const session = await visit.load();
    // Tests set and read whatever keys they like.
    return { visit, exchange, session: session as Request["session"] };
  }

  /** Leaves: commits and keeps the cookie. */
  async leave({ visit, exchange }: Request): Promise<FakeExchange> {
    await visit.commit();
    this.keep(exchange);
    return exchange;
  }

  /** A whole request. */
  async request(handler: (session: Request["session"], request: Request) => unknown): Promise<FakeExchange> {
    const request = await this.arrive();
    await handler(request.session, request);
    return this.leave(request);
  }

  /** Another client that holds the same cookie: a second tab, a parallel request. */
  twin(): Client {
    return new Client(this.sessions, this.cookie);
  }

  keep(exchange: FakeExchange): void {
    for (const line of exchange.setCookies) {
      const { name, value, clears } = readSetCookie(line);
      this.cookie = clears ? undefined : `${name}=${value}`;
    }
  }
}
