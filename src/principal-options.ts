/**
 * The options about users and their sessions: `principal` and `maxSessions`, and that the store can do what they ask.
 * Called at start-up by options.ts.
 */
import type { Expiring } from "./expiry-index.ts";
import type { Description } from "./meta.ts";
import { functionOf, refuse, refuseUnknown } from "./option-checks.ts";
import type { Indexed } from "./principal-index.ts";
import type { Store } from "./store.ts";

/** One of a user's sessions, as a limit's own policy sees it. */
export interface EvictableSession {
  /** Public id. */
  id: string;
  /** Epoch ms, by the store's clock, as all times here. */
  createdAt: number;
  lastSeenAt: number;
  expiresAt: number;
  /** What `describe` said; `undefined`: nothing. */
  meta: Description | undefined;
}

/** Who makes room for a login beyond `maxSessions`. */
export type LimitPolicy =
  | "evict-oldest"
  | "reject"
  | ((sessions: EvictableSession[]) => readonly string[] | Promise<readonly string[]>);

/** `maxSessions`, resolved. */
export interface SessionLimit {
  readonly most: number;
  readonly policy: LimitPolicy;
}

/** The option `principal`. @throws {SessionError} `ERR_SESSION_OPTION` */
export function principalOption<T>(value: T, store: Store | undefined): T {
  if (value !== undefined) requireIndex("principal", value, store);
  return functionOf("principal", value);
}

/** The option `maxSessions`. @throws {SessionError} `ERR_SESSION_OPTION` */
export function limitOf(
  value: number | { most: number; policy?: LimitPolicy } | undefined,
  store: Store | undefined,
): SessionLimit | undefined {
  if (value === undefined) return undefined;
  requireIndex("maxSessions", value, store);
  const given = typeof value === "object" && value !== null ? value : { most: value };
  refuseUnknown("maxSessions.", given, ["most", "policy"]);
  const { most, policy = "evict-oldest" } = given;
  if (!Number.isSafeInteger(most) || most < 1) refuse("maxSessions", most, "write a whole number from 1");
  const isPolicy = policy === "evict-oldest" || policy === "reject" || typeof policy === "function";
  if (!isPolicy) refuse("maxSessions.policy", policy, 'write "evict-oldest", "reject" or a function');
  return Object.freeze({ most, policy });
}

/** The default store has an index. */
function requireIndex(option: string, value: unknown, store: Store | undefined): void {
  if (store === undefined || (store as Partial<Indexed>).principals !== undefined) return;
  refuse(
    option,
    value,
    "the store can't list a user's sessions (it has no `principals`): use redisStore or memoryStore",
  );
}

/** The option `expiredEvents`, which a store must be able to keep. @throws {SessionError} `ERR_SESSION_OPTION` */
export function expiredEventsOf(isOn: boolean, store: Store | undefined): boolean {
  if (!isOn || store === undefined || (store as Partial<Expiring>).expiries !== undefined) return isOn;
  return refuse(
    "expiredEvents",
    isOn,
    "the store can't tell what is due (it has no `expiries`): use redisStore or memoryStore",
  );
}
