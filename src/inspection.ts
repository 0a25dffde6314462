/**
 * A look into the record before the app sees the session, once a request, at load, where an option asks for it: are its
 * data of a newer version than this node knows, and does somebody use it who looks different from who logged in (OWASP
 * Session Management, "session anomalies")? Then `onAnomaly` decides.
 */
import type { Arrival } from "./arrival.ts";
import { saveOwn } from "./commit.ts";
import type { Context } from "./context.ts";
import type { Budget } from "./deadline.ts";
import { changedFields } from "./description.ts";
import { end } from "./ending.ts";
import { SessionError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { stateOf } from "./materialise.ts";
import { show } from "./option-checks.ts";
import type { Anomaly, AnomalyDecision, OnAnomaly } from "./security-options.ts";
import type { SessionState } from "./session-state.ts";

const decisions: readonly AnomalyDecision[] = ["allow", "accept", "distrust", "end"];

/** Whether records are looked into at load; otherwise that waits until the app does. */
export function isInspected({ options }: Context): boolean {
  return options.onAnomaly !== undefined || options.version > 0;
}

/** What becomes of an arrival. @throws {SessionError} `ERR_SESSION_DESCRIBE`, `ERR_SESSION_STORE…` */
export async function inspect(
  context: Context,
  budget: Budget,
  exchange: Exchange,
  arrival: Arrival,
): Promise<Arrival> {
  if (arrival.kind !== "live") return arrival;
  const state = stateOf(context, exchange, arrival);
  // Garbage, and reported: not to be looked at twice.
  if (state === undefined) return { kind: "none" };
  refuseNewer(context, state);
  const { onAnomaly } = context.options;
  const inspected = { ...arrival, state };
  const before = state.own.by;
  if (onAnomaly === undefined || before === undefined) return inspected;
  const now = { ...state.describe?.() };
  const changed = changedFields(before, now);
  if (changed.length === 0) return inspected;
  const decision = await decide(onAnomaly, { id: state.id, before, now, changed }, exchange);
  context.events.emit("anomaly", { id: state.id, changed, decision });
  if (decision === "end") {
    await end(context, budget, state.id, "revoked");
    return { kind: "none" };
  }
  if (decision === "accept" && !(await saveOwn(state, budget, { by: now }))) return { kind: "none" };
  if (decision === "distrust") state.distrustedLogin = state.own.loginAt;
  return inspected;
}

/** Other nodes can read it: its browser must keep the cookie. @throws {SessionError} `ERR_SESSION_STORE` */
function refuseNewer({ options, events }: Context, { id, baseline }: SessionState): void {
  const { v = 0 } = baseline.meta;
  if (v <= options.version) return;
  const error = new SessionError(
    "ERR_SESSION_STORE",
    `the session's data have version ${v}, and this node's option says ${options.version}: it was saved by a newer release of the app`,
  );
  events.emit("storeError", { operation: "read", error, id });
  throw error;
}

/** Whatever goes wrong here must not let the request through. @throws {SessionError} `ERR_SESSION_DESCRIBE` */
async function decide(onAnomaly: OnAnomaly, anomaly: Anomaly, exchange: Exchange): Promise<AnomalyDecision> {
  let decision: AnomalyDecision;
  try {
    decision = await onAnomaly(anomaly, exchange.raw);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SessionError("ERR_SESSION_DESCRIBE", `onAnomaly threw: ${reason}`, { cause: error });
  }
  if (decisions.includes(decision)) return decision;
  const words = decisions.map((word) => `"${word}"`).join(", ");
  throw new SessionError("ERR_SESSION_DESCRIBE", `onAnomaly returned ${show(decision)}: return one of ${words}`);
}
