/**
 * Bounded waiting. One request may wait for the store for `storeTimeout` in all until its response has left; after
 * that (streams, web sockets) each call has the whole time again. Monotonic time throughout (`performance.now()`).
 */
import { SessionError } from "./errors.ts";

/** How long one request may still wait for the store. */
export class Budget {
  readonly #totalMs: number;
  #leftMs: number;
  #isUnlimited = false;

  constructor(totalMs: number) {
    this.#totalMs = totalMs;
    this.#leftMs = totalMs;
  }

  /** From now on each call has the whole time: the response has left, nobody waits for it any more. */
  release(): void {
    this.#isUnlimited = true;
  }

  /**
   * Runs `call` with its deadline and waits no longer than that, whatever the store does.
   * @throws {SessionError} `ERR_SESSION_STORE_TIMEOUT`; a store's own failure becomes `ERR_SESSION_STORE`
   */
  spend<T>(call: (deadline: number) => Promise<T>): Promise<T> {
    const start = performance.now();
    const waitMs = this.#isUnlimited ? this.#totalMs : this.#leftMs;
    if (waitMs <= 0) return Promise.reject(timeout(this.#totalMs));
    // One promise for all of it: each store call of each request comes by here.
    return new Promise((resolve, reject) => {
      let isOver = false;
      const settle = (): void => {
        isOver = true;
        clearTimeout(timer);
        this.#leftMs -= performance.now() - start;
      };
      const fail = (error: unknown): void => {
        if (isOver) return;
        settle();
        reject(asStoreError(error));
      };
      const timer = setTimeout(() => fail(timeout(this.#totalMs)), waitMs);
      begun(call, start + waitMs).then((value) => {
        if (isOver) return;
        settle();
        resolve(value);
      }, fail);
    });
  }
}

/** What a store throws before there is a promise is a failure like any other. */
function begun<T>(call: (deadline: number) => Promise<T>, deadline: number): Promise<T> {
  try {
    return call(deadline);
  } catch (error) {
    return Promise.reject(error);
  }
}

/**
 * Whether `work` settles before `deadline` (by `performance.now()`); waits no longer than that. Rejects as `work` does.
 * `keepsAlive`: whether the process goes on for the wait alone.
 */
export async function isDoneBy(deadline: number, work: Promise<unknown>, keepsAlive = true): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, deadline - performance.now()), false);
    if (!keepsAlive) timer.unref();
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The failure of a wait that took too long. */
export function timeout(totalMs: number, cause?: unknown): SessionError {
  return new SessionError(
    "ERR_SESSION_STORE_TIMEOUT",
    `the session store did not answer within storeTimeout (${totalMs} ms): is it up, and does its client have a command timeout?`,
    cause === undefined ? undefined : { cause },
  );
}

function asStoreError(error: unknown): SessionError {
  if (error instanceof SessionError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new SessionError("ERR_SESSION_STORE", `the session store failed: ${reason}`, { cause: error });
}
