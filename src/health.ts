/**
 * What a load balancer's health check is told: whether this node takes clients, and in passing whether its store
 * answers. The engine keeps one `NodeHealth`; hosts mount `healthHandler`. It ends nothing: draining is only said.
 */
import { setTimeout as pause } from "node:timers/promises";

/**
 * How far this node is on its way out. `"draining"`: it serves everybody, and wants no new clients. `"leaving"`: it
 * still serves whoever comes, and wants nobody any more. `"closed"`: `close()` was called.
 */
export type HealthStatus = "healthy" | "draining" | "leaving" | "closed";

/** The health of one node. */
export interface Health {
  status: HealthStatus;
  /**
   * Whether the store answered when it was last asked, at most about a second before the last call; `"unknown"`: it has
   * not been asked yet. A detail, not a verdict: all nodes share the store, and none would be left if it counted.
   */
  store: "up" | "down" | "unknown";
  /** Requests and operations on sessions that are under way. */
  inFlight: number;
}

/** How long an answer of the store is good for: health checks come several a second, from each balancer. */
const askEveryMs = 1000;

/** The health of one engine. */
export class NodeHealth {
  status: HealthStatus = "healthy";
  readonly #ask: () => Promise<unknown>;
  readonly #hurry = new AbortController();
  #draining: Promise<void> | undefined;
  #store: Health["store"] = "unknown";
  #isAsking = false;
  #askedAt = Number.NEGATIVE_INFINITY;

  /** `ask`: resolves when the store has answered, rejects when it has not, within a time of its own. */
  constructor(ask: () => Promise<unknown>) {
    this.#ask = ask;
  }

  /** What the store was last known to be. Asks again where that is old, and waits for no answer. */
  get store(): Health["store"] {
    const now = performance.now();
    if (!this.#isAsking && this.status !== "closed" && now - this.#askedAt >= askEveryMs) {
      this.#isAsking = true;
      this.#askedAt = now;
      void this.#note();
    }
    return this.#store;
  }

  /** `"draining"` for `noticeMs`, then `"leaving"` for as long; resolves then. A second call joins the first. */
  drain(noticeMs: number): Promise<void> {
    this.#draining ??= this.#drain(noticeMs);
    return this.#draining;
  }

  /** `"closed"`, at once; a `drain()` under way resolves. */
  close(): void {
    this.status = "closed";
    this.#hurry.abort();
  }

  async #note(): Promise<void> {
    this.#store = await this.#ask().then(
      () => "up",
      () => "down",
    );
    this.#isAsking = false;
  }

  async #drain(noticeMs: number): Promise<void> {
    for (const status of ["draining", "leaving"] as const) {
      if (this.status === "closed") return;
      this.status = status;
      await pause(noticeMs, undefined, { signal: this.#hurry.signal }).catch(() => {});
    }
  }
}

/** What the handler needs of a response: Node's has it, in HTTP/1 and HTTP/2, and so has Express's. */
export interface HealthResponse {
  statusCode: number;
  setHeader(name: string, value: string): unknown;
  end(body: string): unknown;
}

/** What `healthHandler` takes. */
export interface HealthOptions {
  /**
   * The status while draining: 404 is what HAProxy's `http-check disable-on-404` wants (no new clients, those bound to
   * the node go on), 503 what balancers want that know up and down only. @default 404
   */
  drainingStatus?: 404 | 503;
}

/**
 * Makes a handler for health checks: 200 while healthy, 404 (or 503) while draining, 503 when leaving or closed, with
 * the health as JSON. It never waits for the store, and a store that is down changes the detail, not the status. Mount
 * it before the session: Express `app.get("/health", health)`, `node:http` `health(req, res)`, Koa
 * `ctx.respond = false; health(ctx.req, ctx.res)`, Fastify `reply.hijack(); health(request.raw, reply.raw)`.
 */
export function healthHandler(
  sessions: { health(): Health },
  { drainingStatus = 404 }: HealthOptions = {},
): (request: unknown, response: HealthResponse) => void {
  const statusOf = { healthy: 200, draining: drainingStatus, leaving: 503, closed: 503 };
  return (_request, response) => {
    const health = sessions.health();
    response.statusCode = statusOf[health.status];
    response.setHeader("content-type", "application/json");
    response.setHeader("cache-control", "no-store");
    response.end(JSON.stringify(health));
  };
}
