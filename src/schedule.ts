/**
 * Notes for the event `expired`: each session in the expiry index before it is written, forgotten when it ends. Costs a
 * command each, with `expiredEvents` only; a touch costs none. Who looks at what is due is `expiry.ts`.
 */
import type { Context } from "./context.ts";
import type { Budget } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import type { ExpiryIndex } from "./expiry-index.ts";
import type { StoreCall } from "./store.ts";

/** Notes when a session is to be looked at. @throws {SessionError} `ERR_SESSION_STORE…`, reported as `storeError` */
export function schedule(context: Context, budget: Budget, id: string, at: number): Promise<void> {
  return callExpiries(context, budget, id, (index, call) => index.schedule(id, at, call));
}

/** Forgets a session that ended, where the store is in reach; what stays is found ended when its time comes. */
export async function unschedule(context: Context, budget: Budget, id: string): Promise<void> {
  await callExpiries(context, budget, id, (index, call) => index.cancel(id, call)).catch(() => {});
}

/** Calls the expiry index. @throws {SessionError} `ERR_SESSION_STORE…`, reported as `storeError` */
export async function callExpiries<T>(
  { expiries, breakers, events, inFlight }: Context,
  budget: Budget,
  id: string,
  verb: (index: ExpiryIndex, call: StoreCall) => Promise<T>,
): Promise<T> {
  if (expiries === undefined) throw new RangeError("no expiry index: expiredEvents is off");
  try {
    const asked = breakers
      .of("write", id)
      .run(() => budget.spend((deadline) => verb(expiries, { deadline, durable: false })));
    return await inFlight.during(asked);
  } catch (error) {
    // The budget turns every failure of a store into this class.
    if (error instanceof SessionError) events.emit("storeError", { operation: "index", error, id });
    throw error;
  }
}
