/**
 * The options of the near cache, checked at start-up. Decides nothing else; `near-cache.ts` calls it.
 */
import ms, { type StringValue } from "ms";
import { SessionError } from "../errors.ts";

/** Options of `nearCache`. A duration is whole milliseconds, or a string for the `ms` package. */
export interface NearCacheOptions {
  /** Most sessions kept; the one that was not used for longest makes room. @default 10_000 */
  max?: number;
  /** Most bytes kept, by payload and about 500 bytes a session for the rest. @default 64 MiB (67_108_864) */
  maxSize?: number;
  /** A copy is read again from Redis at this age, whatever else is known about it. @default "1m" */
  maxAge?: number | StringValue;
  /**
   * For how long a copy bridges an outage: while Redis can't be reached it is served until it was last known to be
   * current that long ago. It may have been changed or ended elsewhere meanwhile: a user who logged out on another
   * node is logged in on this one again, until Redis is back. Never a session that this node knows was changed or
   * ended. `0`: never. @default 0
   */
  maxStaleOnError?: number | StringValue;
}

/** The options, all of them, durations in ms. */
export type ResolvedNearCacheOptions = Record<keyof NearCacheOptions, number>;

const defaults: ResolvedNearCacheOptions = { max: 10_000, maxSize: 64 * 2 ** 20, maxAge: 60_000, maxStaleOnError: 0 };

/** Checks the options and fills in the defaults. @throws {SessionError} `ERR_SESSION_OPTION` */
export function resolve(options: unknown): ResolvedNearCacheOptions {
  if (typeof options !== "object" || options === null) throw wrong("options", options, "write an object");
  // Checked option by option below.
  const given = options as NearCacheOptions;
  const unknown = Object.keys(given).find((name) => !(name in defaults));
  if (unknown !== undefined) {
    throw wrong(unknown, "an unknown option", `there are ${Object.keys(defaults).join(", ")}`);
  }
  const { max, maxSize, maxAge, maxStaleOnError } = { ...defaults, ...given };
  return {
    max: wholeNumber("max", max),
    maxSize: wholeNumber("maxSize", maxSize),
    maxAge: duration("maxAge", maxAge, 1),
    maxStaleOnError: duration("maxStaleOnError", maxStaleOnError, 0),
  };
}

function wholeNumber(name: string, value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 1) return value;
  throw wrong(name, value, "write a whole number from 1");
}

function duration(name: string, value: unknown, least: number): number {
  // A text that is no duration becomes undefined.
  const amount = typeof value === "string" && value.length <= 100 ? ms(value as StringValue) : value;
  if (typeof amount === "number" && Number.isFinite(amount) && amount >= least) return Math.round(amount);
  throw wrong(name, value, `write milliseconds (a number from ${least}) or a string such as "1m"`);
}

/** What is said about a wrong option. */
export function wrong(name: string, received: unknown, cure: string): SessionError {
  const shown =
    typeof received === "object" && received !== null
      ? "an object"
      : typeof received === "string" && name in defaults
        ? JSON.stringify(received)
        : String(received);
  return new SessionError("ERR_SESSION_OPTION", `nearCache option ${name}: received ${shown}; ${cure}`);
}
