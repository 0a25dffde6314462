/**
 * Loading what a request brought, once: at arrival, or on demand. Keeps the failure for whoever looks at the session
 * later; never rejects by itself.
 */
import { type Arrival, candidatesOf, lookUp, lookUpAtOnce, noArrival } from "./arrival.ts";
import type { Context } from "./context.ts";
import type { Budget } from "./deadline.ts";
import type { SessionError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { inspect, isInspected } from "./inspection.ts";

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
      this.arrival = noArrival;
      return undefined;
    }
    const isLookedInto = isInspected(context);
    const near = lookUpAtOnce(context, candidates);
    if (near !== undefined && !isLookedInto) {
      this.arrival = near;
      return undefined;
    }
    const looked = near === undefined ? lookUp(context, budget, exchange, candidates) : Promise.resolve(near);
    const inspected = isLookedInto ? looked.then((arrival) => inspect(context, budget, exchange, arrival)) : looked;
    this.#underWay = inspected.then(
      (arrival) => {
        this.arrival = arrival;
      },
      (error: SessionError) => {
        // What the user's own functions throw is no failure of the store: nobody gets past it.
        const isStore = error.status === 503;
        if (isStore && context.options.onStoreError === "anonymous")
          this.arrival = { kind: "degraded", failure: error };
        else this.failure = error;
      },
    );
    return this.#underWay;
  }
}
