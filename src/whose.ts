/**
 * Whose a session is: what the option `principal` says of its data, or what `session.principal = …` said; and whether a
 * change of it makes the session another user's. Called by the session's state, and where it is saved.
 */
import type { Data } from "./codec.ts";
import type { Context } from "./context.ts";
import { SessionError } from "./errors.ts";
import { noIndex, principalOf } from "./principals.ts";
import type { Content } from "./record.ts";

/**
 * Whose session it is with these data; `said`: what holds without the option `principal`.
 * @throws {SessionError} `ERR_SESSION_PRINCIPAL`
 */
export function whose({ options }: Context, data: Data, said: string | undefined): string | undefined {
  return options.principal === undefined ? said : principalOf(options.principal(data));
}

/**
 * Whether a live session would be another user's with `content`. One that an app made before it had the option
 * `principal` would not: it only gets the name that it lacked.
 */
export function changesHands(
  state: { context: Context; phase: string; baseline: Content },
  { meta, text }: Content,
): boolean {
  const { meta: earlier, text: before } = state.baseline;
  if (state.phase !== "live" || meta.principal === earlier.principal) return false;
  const hasOption = state.context.options.principal !== undefined;
  return !(hasOption && earlier.principal === undefined && text === before);
}

/**
 * Checks what is assigned to `session.principal`.
 * @throws {SessionError} `ERR_SESSION_PRINCIPAL` where the option `principal` decides, or the store has no index
 */
export function assignedPrincipal({ options, principals }: Context, value: unknown): string | undefined {
  if (options.principal !== undefined) {
    throw new SessionError(
      "ERR_SESSION_PRINCIPAL",
      "session.principal can't be assigned where the option principal tells it from the data: change the data, or leave the option out",
    );
  }
  const principal = principalOf(value);
  if (principal !== undefined && principals === undefined) throw noIndex();
  return principal;
}
