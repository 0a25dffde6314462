/**
 * Re-authentication before what is sensitive (ASVS 5.0 7.5.1, 7.5.3): was the last login recent enough? The guards of the
 * adapters, `requireFresh()`, ask here. Who the user is, and whether there is one, remains the app's to check.
 */
import { SessionError } from "./errors.ts";
import { type Duration, durationOf, show } from "./option-checks.ts";
import { Session } from "./session.ts";
import { type RequestLike, sessionOf } from "./session-of.ts";

/**
 * Whether a session's user logged in (`renew()`, `regenerate()`) no longer ago than `maxAge`, to the millisecond. Never,
 * where they did not log in, or where `onAnomaly` does not trust that login in this request.
 * @throws {SessionError} `ERR_SESSION_OPTION` where `maxAge` is no duration
 */
export function isFresh(session: Session, maxAge: Duration): boolean {
  return Session.isFresh(session, durationOf("maxAge", maxAge));
}

/**
 * Makes the guard of a request; adapters wrap it for their framework. `maxAge` is checked at once.
 * @throws {SessionError} `ERR_SESSION_OPTION`; the guard rejects with `ERR_SESSION_NOT_FRESH` (401), and with what
 * `sessionOf` does
 */
export function freshnessGuard(maxAge: Duration): (request: RequestLike) => Promise<void> {
  const maxAgeMs = durationOf("requireFresh(maxAge)", maxAge);
  return async (request) => {
    const session = await sessionOf(request);
    if (Session.isFresh(session, maxAgeMs)) return;
    const last = session.authenticatedAt === null ? "there was no login that counts" : "the last login is older";
    throw new SessionError(
      "ERR_SESSION_NOT_FRESH",
      `this needs a login within ${show(maxAge)}, and ${last}: send the user to a page that asks for the password again and calls session.renew()`,
    );
  };
}
