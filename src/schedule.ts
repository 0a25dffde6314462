/**
 * Notes for the event `expired`: each session in the expiry index before it is written, forgotten when it ends. Costs a
 * command each, with `expiredEvents` only; a touch costs none. Who looks at what is due is `expiry.ts`.
 */
import type { Context } from "./context.ts";
import { Budget } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import type { ExpiryIndex } from "./expiry-index.ts";
import type { StoreCall } from "./store.ts";

/** Notes when a session is to be looked at. @throws {SessionError} `ERR_SESSION_STORE…`, reported as `storeError` */
export function schedule(context: Context, budget: Budget, id: string, at: number): Promise<void> {
  return callExpiries(context, budget, id, (index, call) => index.schedule(id, at, call));
}

/**
 * Forgets a session that ended, or an id that nobody was given. Nobody waits for it; where the store is out of reach it is
 * tried again once the index has answered something else. What a crash leaves is told as `expired`.
 */
export function unschedule(context: Context, id: string, at?: number): void {
  if (context.expiries === undefined) return;
  callExpiries<unknown>(context, new Budget(context.options.storeTimeoutMs), id, (index, call) =>
    at === undefined ? index.cancel(id, call) : index.settle(id, at, undefined, call),
  ).catch(() => context.leftovers.add({ id, at }));
}

/** Calls the expiry index. @throws {SessionError} `ERR_SESSION_STORE…`, reported as `storeError` */
export async function callExpiries<T>(
  context: Context,
  budget: Budget,
  id: string,
  verb: (index: ExpiryIndex, call: StoreCall) => Promise<T>,
): Promise<T> {
  const { expiries, breakers, events, inFlight, leftovers } = context;
  if (expiries === undefined) throw new RangeError("no expiry index: expiredEvents is off");
  try {
    const asked = breakers
      .of("write", id)
      .run(() => budget.spend((deadline) => verb(expiries, { deadline, durable: false })));
    const answer = await inFlight.during(asked);
    const leftover = leftovers.next();
    if (leftover !== undefined) unschedule(context, leftover.id, leftover.at);
    return answer;
  } catch (error) {
    // The budget turns every failure of a store into this class.
    if (error instanceof SessionError) events.emit("storeError", { operation: "index", error, id });
    throw error;
  }
}
