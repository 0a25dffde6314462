/**
 * The options about who uses a session and who tries to: descriptions and anomalies, guessing, and what a logout clears.
 * Checked at start-up by options.ts, of whose options they are a part.
 */
import type { IncomingMessage } from "node:http";
import type { Description } from "./meta.ts";
import { type Duration, durationOf, functionOf, refuse, refuseUnknown } from "./option-checks.ts";

/**
 * Describes who comes with a request: at most 16 strings, each cut to 256 characters; `undefined` fields are left out.
 * `address`: the client's, as the framework judges it (its trust-proxy setting included).
 */
export type Describe = (
  request: IncomingMessage,
  client: { address: string | undefined },
) => Record<string, string | undefined>;

/** A live session whose description (`describe`) is not the request's. */
export interface Anomaly {
  /** The session's public id. */
  id: string;
  /** Who made the session or last logged in with it. */
  before: Description;
  /** Who comes with it now. */
  now: Description;
  /** The fields that differ. */
  changed: readonly string[];
}

/**
 * What to do about it. `"allow"`: nothing, and ask again with the next request. `"accept"`: the new description replaces
 * the old one. `"distrust"`: the session goes on, but its login does not count in this request (`authenticatedAt` is
 * `null`, `requireFresh()` refuses) until a new one. `"end"`: the session ends (`"revoked"`), here and everywhere.
 */
export type AnomalyDecision = "allow" | "accept" | "distrust" | "end";

/** Decides; what it throws, and any other answer, fails the request (500). */
export type OnAnomaly = (anomaly: Anomaly, request: IncomingMessage) => AnomalyDecision | Promise<AnomalyDecision>;

/** The part of the options that is checked here. */
export interface SecurityOptions {
  /**
   * Who comes with a request, in a few strings: kept with the session from its creation or last login on, for lists of
   * devices and `onAnomaly`. Personal data: say so to your users. @default none
   */
  describe?: Describe;
  /** A session is used by somebody that `describe` tells from who logged in. Asked at load. @default none */
  onAnomaly?: OnAnomaly;
  /**
   * When the `suspicious` event names an address: `after` that many cookies that are no session (default 20), each time
   * in a span of `within` (default "1m"). Counted only while somebody listens. @default { after: 20, within: "1m" }
   */
  suspicion?: { after?: number; within?: Duration };
  /**
   * `Clear-Site-Data` on the response of a logout: `true` for `"cache", "storage"`, or a list. `"cookies"` clears those
   * of every app on the site, subdomains too. Browsers heed it over HTTPS only. @default false
   */
  clearSiteData?: boolean | readonly ClearSiteDataType[];
}

/** What `Clear-Site-Data` can clear. */
export type ClearSiteDataType = "cache" | "cookies" | "storage" | "executionContexts" | "clientHints" | "*";

/** The same, resolved. */
export interface ResolvedSecurity {
  readonly describe: Describe | undefined;
  readonly onAnomaly: OnAnomaly | undefined;
  readonly suspicion: { readonly after: number; readonly withinMs: number };
  /** The header's value; `undefined`: it is not sent. */
  readonly clearSiteData: string | undefined;
}

/** Their names. */
export const securityKeys: readonly string[] = ["describe", "onAnomaly", "suspicion", "clearSiteData"];

const clearable: readonly unknown[] = ["cache", "cookies", "storage", "executionContexts", "clientHints", "*"];

/** @throws {SessionError} `ERR_SESSION_OPTION` */
export function resolveSecurity(options: SecurityOptions): ResolvedSecurity {
  return {
    describe: functionOf("describe", options.describe),
    onAnomaly: onAnomalyOf(options),
    suspicion: suspicionOf(options.suspicion ?? {}),
    clearSiteData: clearSiteDataOf(options.clearSiteData ?? false),
  };
}

function onAnomalyOf({ describe, onAnomaly }: SecurityOptions): OnAnomaly | undefined {
  if (onAnomaly === undefined || describe !== undefined) return functionOf("onAnomaly", onAnomaly);
  return refuse("onAnomaly", onAnomaly, "it compares what describe returns: give that option, too");
}

function suspicionOf(given: NonNullable<SecurityOptions["suspicion"]>): ResolvedSecurity["suspicion"] {
  if (typeof given !== "object" || given === null) refuse("suspicion", given, 'pass { after: 20, within: "1m" }');
  refuseUnknown("suspicion.", given, ["after", "within"]);
  const { after = 20, within = "1m" } = given;
  if (!Number.isSafeInteger(after) || after < 1) refuse("suspicion.after", after, "write a whole number from 1");
  return Object.freeze({ after, withinMs: durationOf("suspicion.within", within, 1000) });
}

function clearSiteDataOf(given: unknown): string | undefined {
  if (given === false) return undefined;
  const list: readonly unknown[] | undefined = given === true ? ["cache", "storage"] : asList(given);
  if (list !== undefined && list.length > 0 && list.every((type) => clearable.includes(type))) {
    return list.map((type) => `"${type}"`).join(", ");
  }
  return refuse("clearSiteData", given, `write true, or a list of ${clearable.map((type) => `"${type}"`).join(", ")}`);
}

function asList(given: unknown): readonly unknown[] | undefined {
  return Array.isArray(given) ? given : undefined;
}
