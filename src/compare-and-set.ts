/**
 * Compare-and-set on a session's record: write on top of what is known, and when somebody else was first, again on top
 * of theirs, until it wins or the budget ends. What is written is the caller's to say; a lost race is a result.
 */
import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { assertOpensSessions, type Context, callStore } from "./context.ts";
import type { Budget } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import { follow, read } from "./following.ts";
import { absoluteDeadline, cut, idleMsOf } from "./lifetimes.ts";
import { asEnded } from "./moved.ts";
import { named, settleName } from "./naming.ts";
import { type Content, type Known, pack } from "./record.ts";
import { unschedule } from "./schedule.ts";
import { dataOf, knownFrom } from "./session-content.ts";
import type { SessionState } from "./session-state.ts";
import type { EndReason, LiveRecord, MovedRecord, NewRecord, StoreRecord } from "./store.ts";
import type { Written } from "./writers.ts";

/** A record for `content`, on top of what is known. */
export function recordFor(
  state: SessionState,
  known: Known | undefined,
  content: Content,
  id: string = state.id,
): NewRecord {
  const { context } = state;
  const { maxAge, idle } = content.meta;
  const earlier = known?.content.meta;
  const now = context.store.now();
  const absoluteExpiresAt = absoluteDeadline(context, known, content.meta, now);
  const isFixed =
    !context.options.rolling && known !== undefined && earlier?.maxAge === maxAge && earlier?.idle === idle;
  return {
    kind: "live",
    createdAt: known?.createdAt ?? now,
    touchedAt: now,
    expiresAt: cut(isFixed ? known.expiresAt : now + idleMsOf(context, content.meta), absoluteExpiresAt),
    absoluteExpiresAt,
    payload: payloadOf(context, content, id),
  };
}

function payloadOf({ options }: Context, content: Content, id: string): Uint8Array {
  const payload = pack(content, id, options.transforms);
  if (payload.byteLength <= options.maxRecordSize) return payload;
  throw new SessionError(
    "ERR_SESSION_TOO_LARGE",
    `the session would take ${payload.byteLength} bytes, more than maxRecordSize (${options.maxRecordSize}): keep large things elsewhere and their id in the session, or raise the option`,
  );
}

/**
 * Writes what `make` gives for the newest record until that wins; `make` gives `undefined` for "no change".
 * @throws {SessionError} `ERR_SESSION_UNKNOWN_OUTCOME` where it may have been applied before others wrote on top of it
 */
export function compareAndSet(
  state: SessionState,
  budget: Budget,
  make: (known: Known | undefined) => Content | undefined,
): Promise<Written> {
  return state.context.writers
    .takeTurn(state.id, budget, (last) => {
      const { known } = state;
      // A guess, which spares a refusal: another node may have written since, and this request have loaded that.
      const isNewer =
        last !== undefined && last.version !== known?.version && last.touchedAt >= (known?.touchedAt ?? 0);
      return writeUntilWon(state, budget, isNewer ? last : known, make);
    })
    .then((written) =>
      settleName(state, budget, written).catch((error: unknown) => {
        if (state.phase === "new") state.isCreationUnsure = true;
        throw error;
      }),
    );
}

async function writeUntilWon(
  state: SessionState,
  budget: Budget,
  start: Known | undefined,
  make: (known: Known | undefined) => Content | undefined,
): Promise<Written> {
  let known = start;
  let isUncertain = false;
  const beganAt = state.context.store.now();
  for (let attempt = 0; ; attempt++) {
    // What a creation has left that failed all the same is nobody's but this request's: written anew, not merged with.
    const isOwn = state.phase === "new" && state.isCreationUnsure;
    const content = make(isOwn ? undefined : known);
    // A merge that adds nothing: what this request wants stands there already (its own write, whose answer was lost). Only
    // by the store's word in this call: what this process remembers, another may have undone.
    if (attempt > 0 && known !== undefined && content === known.content) return { known };
    // Its own write may be one of those that the others wrote on top of: once more would undo what they did.
    if (isUncertain) throw unknownOutcome();
    const current =
      content === undefined
        ? await newer(state, budget, known)
        : await named(state, budget, { known, content, beganAt }, () => write(state, budget, known, content));
    if (!("record" in current)) return current;
    isUncertain = current.isUncertain === true;
    const record = current.record?.kind === "moved" ? await leadOn(state, budget, current.record) : current.record;
    if (record?.kind !== "live") {
      // Noted a moment ago, perhaps after whoever ended it had seen to its note.
      if (record?.kind === "ended" && record.reason !== "expired") unschedule(state.context, state.id);
      return { gone: reasonOf(record) };
    }
    known = readable(state.context, state.id, record);
    if (known === undefined) return { gone: "unknown" };
    await budget.spend(() => pause(attempt));
  }
}

type Attempted =
  | { known: Known }
  | { unchanged: true }
  | { record: StoreRecord | undefined; isUncertain?: boolean | undefined };

async function write(
  state: SessionState,
  budget: Budget,
  known: Known | undefined,
  content: Content,
): Promise<Attempted> {
  if (known === undefined) assertOpensSessions(state.context);
  const record = recordFor(state, known, content);
  const isAnothers = content.meta.principal !== known?.content.meta.principal;
  const call = { operation: "write", id: state.id, durable: state.isLogin || isAnothers } as const;
  const result = await callStore(state.context, budget, call, (store, options) =>
    store.write(state.id, record, known?.version ?? "absent", options),
  ).catch((error: unknown) => {
    if (known === undefined) state.isCreationUnsure = true;
    throw error;
  });
  if (result.ok) {
    state.isCreationUnsure = false;
    return { known: { ...record, version: result.version, content } };
  }
  // A limit or a revocation was faster: it ended the session whose name it had read.
  if (state.entering !== undefined && result.current?.kind === "ended") return { record: result.current };
  // Refused by this session's own creation, whose answer was lost; any other record would be another user's.
  if (known !== undefined || state.isCreationUnsure) {
    return { record: asEnded(result.current, state.context.store.now()), isUncertain: result.isUncertain };
  }
  throw idInUse();
}

function unknownOutcome(): SessionError {
  return new SessionError(
    "ERR_SESSION_UNKNOWN_OUTCOME",
    "the store's answer was lost and others have written since, so that nobody can tell whether the change was stored: read the data again before you repeat it",
  );
}

/** A fresh id that is taken: never merged onto what stands there, which is another user's session. */
export function idInUse(): SessionError {
  return new SessionError(
    "ERR_SESSION_ID",
    "genId returned an id that is in use already: return at least 128 bits from a cryptographic generator",
  );
}

/** A timed rotation came in between: the session goes on under its new id. */
export async function leadOn(
  state: SessionState,
  budget: Budget,
  moved: MovedRecord,
): Promise<StoreRecord | undefined> {
  const { secret, record } = await follow(state.context, budget, state.secret, moved, { fresh: true });
  state.setSecret(secret);
  state.isLedOn = true;
  state.isCookieDue = true;
  return record;
}

/** A record, taken apart and known to decode; `undefined`: garbage. */
export function readable(context: Context, id: string, record: LiveRecord): Known | undefined {
  try {
    const known = knownFrom(context, id, record);
    dataOf(context, known.content);
    return known;
  } catch {
    return undefined;
  }
}

/** "No change" counts only if nothing newer stands in the store. */
async function newer(state: SessionState, budget: Budget, known: Known | undefined): Promise<Attempted> {
  if (known === undefined) return { unchanged: true };
  const record = await readRecord(state, budget);
  return record?.kind === "live" && record.version === known.version ? { unchanged: true } : { record };
}

/** Reads the record of a session as the backend has it now: what is decided by it must not rest on a copy. */
export function readRecord(state: SessionState, budget: Budget): Promise<StoreRecord | undefined> {
  return read(state.context, budget, state.id, { fresh: true });
}

/** The first two retries at once, then with growing jitter: whoever lost must not lose to the same again. */
export async function pause(attempt: number): Promise<void> {
  if (attempt >= 2) await delay(randomInt(1, Math.min(2 ** attempt, 32)));
}

/** Why a session whose record is not live has ended, as far as the store tells. */
export function reasonOf(record: StoreRecord | undefined): EndReason | "unknown" {
  return record?.kind === "ended" ? record.reason : "unknown";
}
