/**
 * What a failed Redis command means: a state that passes, or a refusal; and the `SessionError` for it. Pure.
 * `redis-link.ts`, `redis-connection.ts` and `redis.ts` call it.
 */
import { SessionError } from "../errors.ts";

/** Replies that a failover, a start or a resharding gives, and that go away by themselves. */
const passing: ReadonlySet<string> = new Set([
  "BUSY",
  "CLUSTERDOWN",
  "LOADING",
  "MASTERDOWN",
  "NOREPLICAS",
  "READONLY",
  "TRYAGAIN",
]);

/** What an ACL user needs; `info` is ioredis's ready check, and from `type` on all but the last ones are run by scripts. */
const commandsUsed =
  "+get +time +info +evalsha +eval +type +getrange +set +setrange +pexpireat +unlink on the keys ~<prefix>*" +
  "; for principals and expiredEvents +zadd +zrem +zscore +zcard +zrange +zrangebyscore +zremrangebyscore +zrandmember" +
  "; to hear of other nodes' ends +publish +subscribe +ping on the channel &<prefix>ended; +wait for durability";

/** The code of an error that Redis answered; `undefined`: the connection failed, not the command. */
export function replyCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.name !== "ReplyError") return undefined;
  // Before Redis 7 an error inside a script came wrapped: "ERR Error running script (…): …: -READONLY …".
  const inScript = /^ERR Error running script .*?-([A-Z]+) /.exec(error.message);
  return inScript?.[1] ?? error.message.split(" ", 1)[0];
}

/** Whether trying again can help. */
export function isPassing(error: unknown): boolean {
  const code = replyCode(error);
  return code === undefined || passing.has(code);
}

/** A Cluster's node says that the key is, or may be, elsewhere. */
export function isRedirection(error: unknown): boolean {
  const code = replyCode(error);
  return code === "MOVED" || code === "ASK";
}

/** Why the store did not send a command, for now. */
export class Unsent extends Error {}

/** What ioredis (its option's name), and what node-redis says of a command that it neither sends nor keeps. */
const unsent = /enableOfflineQueue|^The client is offline$|^The queue is full$/;

/** Whether nothing was sent, also where the client says so: it keeps no queue for a connection that is not there. */
export function isUnsent(error: unknown): boolean {
  return error instanceof Unsent || (error instanceof Error && unsent.test(error.message));
}

const cures: Readonly<Record<string, string>> = {
  NOPERM: `allow the ACL user ${commandsUsed}`,
  MOVED: 'it is a Cluster: hand in new Cluster(…), or write "redis+cluster://…"',
  ASK: 'it is a Cluster: hand in new Cluster(…), or write "redis+cluster://…"',
};

/** Redis answered, and said no. */
export function refused(verb: string, cause: unknown): SessionError {
  const known = cures[replyCode(cause) ?? ""];
  const cure = known === undefined ? "" : `; ${known}`;
  return storeError(`Redis refused to ${verb} a session: ${messageOf(cause)}${cure}`, cause);
}

/** Nothing came of it in time. */
export function outOfReach(verb: string, cause: unknown): SessionError {
  const last = cause === undefined ? "the time was up before it could start" : messageOf(cause);
  return storeError(`Redis could not ${verb} a session in time: ${last}`, cause);
}

/** Redis does not let a user subscribe; what its error says is in no other's first words. */
export function isDenied(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("NOPERM");
}

/** The client is of no use any more. */
export function closed(why: string): SessionError {
  return storeError(`the Redis store cannot be used: ${why}`, undefined);
}

function storeError(message: string, cause: unknown): SessionError {
  hideArguments(cause);
  return new SessionError("ERR_SESSION_STORE", message, cause === undefined ? undefined : { cause });
}

/** ioredis puts the command on its error, and with it the session's data, which must not end in a log. */
function hideArguments(error: unknown): void {
  if (error instanceof Error && replyCode(error) !== undefined && "command" in error) {
    Reflect.set(error, "command", undefined);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
