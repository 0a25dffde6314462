/**
 * The checks that options share: durations, choices, flags, and one way to refuse. Called at start-up by options.ts and
 * cookie-options.ts.
 */
import ms, { type StringValue } from "ms";
import { SessionError } from "./errors.ts";

/** A number of milliseconds, or a string for the `ms` package (`"30m"`, `"1 day"`). */
export type Duration = number | StringValue;

/** A hundred years: above it is a mistake of units. */
export const maxDurationMs: number = 100 * 365 * 86_400_000;

/** @throws {SessionError} `ERR_SESSION_OPTION` with what was received and the cure */
export function refuse(name: string, received: unknown, cure: string): never {
  throw new SessionError("ERR_SESSION_OPTION", `option ${name}: received ${show(received)}; ${cure}`);
}

/** Refuses a key that no option has. */
export function refuseUnknown(prefix: string, object: object, names: readonly string[]): void {
  for (const key of Object.keys(object)) {
    if (!names.includes(key)) {
      throw new SessionError("ERR_SESSION_OPTION", `option ${prefix}${key} is unknown; there are ${names.join(", ")}`);
    }
  }
}

/** Milliseconds of a duration; `least`: the smallest that makes sense. */
export function durationOf(name: string, value: unknown, least = 1): number {
  const amount = millisecondsOf(value, least);
  return amount ?? refuse(name, value, `write milliseconds (a number from ${least}) or a string such as "30m" or "1d"`);
}

/** Whole milliseconds from `least` to a hundred years; `undefined`: it is no such duration. */
export function millisecondsOf(value: unknown, least: number): number | undefined {
  const amount = typeof value === "string" && value.length <= 100 ? ms(value as StringValue) : value;
  return typeof amount === "number" && amount >= least && amount <= maxDurationMs ? Math.round(amount) : undefined;
}

/** One of a few words; the first is the default. */
export function choiceOf<T extends string>(name: string, value: unknown, choices: readonly [T, ...T[]]): T {
  if (value === undefined) return choices[0];
  const choice = choices.find((candidate) => candidate === value);
  return choice ?? refuse(name, value, `write ${choices.map((word) => `"${word}"`).join(" or ")}`);
}

/** A function, or nothing. */
export function functionOf<T>(name: string, value: T): T {
  if (value === undefined || typeof value === "function") return value;
  return refuse(name, value, "write a function, or leave it out");
}

/** A boolean, or its default. */
export function flagOf(name: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  return typeof value === "boolean" ? value : refuse(name, value, "write true or false");
}

/** Shows a value in a message; strings are cut, anything deeper is named by its type. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  return typeof value === "function" ? "a function" : String(value);
}
