/**
 * Loading what a request brought, once: at arrival, or on demand. Keeps the failure for whoever looks at the session
 * later; never rejects by itself.
 */
import { type Arrival, candidatesOf, lookUp, lookUpAtOnce } from "./arrival.ts";
import type { Context } from "./context.ts";
import type { Budget } from "./deadline.ts";
import type { SessionError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";

/** The loading of one request's session. */
export class Loading {
  /** What the request brought; `undefined`: not loaded, or failed. */
  arrival: Arrival | undefined;
  /** Why the store could not say. */
  failure: SessionError | undefined;
  /** Whether the request carried a cookie of our name, good or bad. */
  hasCookie = false;
  #underWay: Promise<void> | undefined;

  /** Begins, or joins what is under way; `undefined`: there is nothing to wait for. */
  begin(context: Context, budget: Budget, exchange: Exchange): Promise<void> | undefined {
    if (this.arrival !== undefined || this.failure !== undefined) return undefined;
    if (this.#underWay !== undefined) return this.#underWay;
    const { candidates, hasCookie } = candidatesOf(context, exchange);
    this.hasCookie = hasCookie;
    if (candidates.length === 0) {
      this.arrival = { kind: "none" };
      return undefined;
    }
    this.arrival = lookUpAtOnce(context, candidates);
    if (this.arrival !== undefined) return undefined;
    this.#underWay = lookUp(context, budget, exchange, candidates).then(
      (arrival) => {
        this.arrival = arrival;
      },
      (error: SessionError) => {
        if (context.options.onStoreError === "anonymous") this.arrival = { kind: "degraded", failure: error };
        else this.failure = error;
      },
    );
    return this.#underWay;
  }
}
