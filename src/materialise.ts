/**
 * From what a request brought to the state of its session: a live record is taken apart and decoded here, once and only
 * when somebody looks. What does not decode is garbage: reported, left alone in the store, and a new session instead.
 */
import { type Arrival, reject } from "./arrival.ts";
import type { Data } from "./codec.ts";
import type { Context } from "./context.ts";
import { describer } from "./description.ts";
import type { Exchange } from "./exchange.ts";
import { InvalidData } from "./schema.ts";
import { dataOf, knownFrom } from "./session-content.ts";
import { SessionState } from "./session-state.ts";
import type { Stamps } from "./store.ts";

/** A request that brought a live record. */
export type LiveArrival = Arrival & { kind: "live" };

/** The state of a live record, its data not decoded; `undefined`: garbage, which was reported. */
export function stateOf(context: Context, exchange: Exchange, arrival: LiveArrival): SessionState | undefined {
  if (arrival.state !== undefined) return arrival.state;
  const { id, secret, isOutdated, record, isLedOn } = arrival;
  try {
    const state = new SessionState(context, secret, { id, known: knownFrom(context, id, record) });
    state.describe = describer(context, exchange);
    // Signed by an older key, or another node's: accepted, and sent again as ours. Led on: the new cookie, once more.
    state.isCookieDue = isOutdated || isLedOn;
    state.isLedOn = isLedOn;
    return state;
  } catch (error) {
    reject(context, exchange, "garbage", { id, detail: reasonOf(error) });
    return undefined;
  }
}

/** The data of a state; `undefined`: garbage, which was reported. */
export function decode(context: Context, exchange: Exchange, state: SessionState): Data | undefined {
  try {
    const data = dataOf(context, state.baseline);
    state.adoptDecoded(data);
    return data;
  } catch (error) {
    const issues = error instanceof InvalidData ? error.issues : undefined;
    reject(context, exchange, "garbage", { id: state.id, detail: reasonOf(error), issues });
    return undefined;
  }
}

/**
 * Whether a touch or a timed rotation may be due, by the record alone. How long the session lives and when it last got
 * its id stand in the payload: that is opened only where the record's times say that it may matter.
 */
export function mayBeWorkDue(context: Context, { createdAt, touchedAt, expiresAt }: Stamps): boolean {
  const { rolling, touchIntervalMs, renewalTimeoutMs } = context.options;
  const now = context.store.now();
  if (renewalTimeoutMs !== null && now - createdAt >= renewalTimeoutMs) return true;
  return rolling && now - touchedAt >= Math.min(touchIntervalMs, (expiresAt - touchedAt) / 20);
}

/** The state of a request that brought no live record. */
export function emptyState(context: Context, exchange: Exchange, arrival: Arrival): SessionState {
  if (arrival.kind === "degraded") return SessionState.degraded(context, arrival.failure);
  const state =
    arrival.kind === "ended" ? SessionState.ended(context, arrival.secret, arrival.reason) : new SessionState(context);
  state.describe = describer(context, exchange);
  return state;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
