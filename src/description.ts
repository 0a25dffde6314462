/**
 * Who comes with a request, as the `describe` option says: asked at most once a request, checked, and cut to a size that
 * a header can't blow up. Called when a session is made or logged in, and where `onAnomaly` compares.
 */
import type { Context } from "./context.ts";
import { SessionError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import type { Description } from "./meta.ts";
import type { Describe } from "./security-options.ts";

/** A user agent may fill a header of 16 KB, and is stored with each session. */
const longestText = 256;
const mostFields = 16;

/** Asks `describe` when first called; `undefined`: there is no such option. */
export function describer({ options }: Context, exchange: Exchange): (() => Description) | undefined {
  const { describe } = options;
  if (describe === undefined) return undefined;
  let description: Description | undefined;
  return () => {
    description ??= checked(ask(describe, exchange));
    return description;
  };
}

/** The fields in which two descriptions differ. */
export function changedFields(before: Description, now: Description): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(now)])].filter((field) => before[field] !== now[field]);
}

/** @throws {SessionError} `ERR_SESSION_DESCRIBE` */
function ask(describe: Describe, { raw, address }: Exchange): unknown {
  try {
    return describe(raw, { address });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SessionError("ERR_SESSION_DESCRIBE", `describe threw: ${reason}`, { cause: error });
  }
}

/** @throws {SessionError} `ERR_SESSION_DESCRIBE` */
function checked(given: unknown): Description {
  if (typeof given !== "object" || given === null || Array.isArray(given)) refuse(`a ${typeof given}`);
  const description: Record<string, string> = {};
  const fields = Object.entries(given).filter(([, text]) => text !== undefined);
  if (fields.length > mostFields) refuse(`${fields.length} fields`);
  for (const [field, text] of fields) {
    if (typeof text !== "string") refuse(`a ${typeof text} in "${field}"`);
    description[field] = text.slice(0, longestText);
  }
  return Object.freeze(description);
}

function refuse(received: string): never {
  throw new SessionError(
    "ERR_SESSION_DESCRIBE",
    `describe returned ${received}: return an object of at most ${mostFields} strings, such as { ip, userAgent }`,
  );
}
