/**
 * `session.update(fn)`: a function run on the newest data until its result is stored. Where that makes the session
 * another user's, it gets a new id first. Called by the session; what it shares with a save is in `commit.ts`.
 */
import type { Data } from "./codec.ts";
import { adopt, bring, gone } from "./commit.ts";
import { compareAndSet } from "./compare-and-set.ts";
import type { Budget } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import { ownedBy } from "./meta.ts";
import { renew } from "./rotation.ts";
import { check, contentOf, dataOf } from "./session-content.ts";
import type { SessionState } from "./session-state.ts";
import { whose } from "./whose.ts";
import type { Written } from "./writers.ts";

/**
 * Runs `fn` on the newest data until its result is stored; the request's own unsaved changes stay pending.
 * @throws {SessionError} `ERR_SESSION_GONE`, `ERR_SESSION_UPDATE`, and what `save` throws
 */
export async function update<T>(state: SessionState, budget: Budget, fn: (data: Data) => T): Promise<T> {
  if (typeof fn !== "function") {
    throw new SessionError("ERR_SESSION_UPDATE", `update(fn): received a ${typeof fn}; pass a synchronous function`);
  }
  if (state.failure !== undefined) throw state.failure;
  if (state.phase === "ended") throw gone(state, "update", state.endReason);
  const { context } = state;
  // Set by every run of `fn`; the last run is the one that counts.
  let run: { result: T } | { error: unknown } | { changesHands: true } | undefined;
  let hasNewId = state.phase === "new";
  const attempt = (): Promise<Written> =>
    compareAndSet(state, budget, (known) => {
      const before = known?.content ?? state.forCreation({ meta: {}, text: context.emptyText });
      try {
        const data = dataOf(context, before);
        const result = fn(data);
        refusePromise(result);
        run = { result };
        const principal = whose(context, data, before.meta.principal);
        const after = contentOf(context, ownedBy(before.meta, principal), data);
        if (after.text === before.text) return undefined;
        check(context, data, after.text);
        if (principal === before.meta.principal || hasNewId) return after;
        run = { changesHands: true };
        return undefined;
      } catch (error) {
        // It may have thrown at data that are no longer the newest: counts only if they are, as "no change" does.
        run = { error };
        return undefined;
      }
    });
  let written = await attempt();
  if (run !== undefined && "changesHands" in run) {
    // The new id first: no other user's data may come under one that somebody knew before.
    await renew(state, budget);
    hasNewId = true;
    written = await attempt();
  }
  if ("gone" in written) {
    state.end(written.gone);
    throw gone(state, "update", written.gone);
  }
  if ("known" in written) {
    // As it is now: the response's save may have been stored while this waited.
    const { baseline } = state;
    adopt(state, written.known);
    context.events.emit("saved", { id: state.id });
    bring(state, baseline, written.known.content);
  }
  if (run !== undefined && "error" in run) throw run.error;
  if (run === undefined || !("result" in run)) throw new RangeError("fn did not run");
  return run.result;
}

function refusePromise(result: unknown): void {
  if (typeof result !== "object" || result === null || !("then" in result) || typeof result.then !== "function") return;
  // Nobody waits for it: its failure must not end the process.
  if (result instanceof Promise) result.catch(() => {});
  throw new SessionError(
    "ERR_SESSION_UPDATE",
    "update(fn): fn returned a promise; do the waiting before, fn must be synchronous",
  );
}
