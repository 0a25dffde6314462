/**
 * The operations on one request's session, one after the other: `save()`, `update()`, `renew()` … Those that the store
 * failed are remembered, whether the app waited for them or not: a response must not look like a success then.
 */
import type { Budget } from "./deadline.ts";
import { SessionError } from "./errors.ts";

/** Runs operations in order; the visit of a request has one. */
export class Operations {
  readonly #budget: Budget;
  readonly #onDone: () => void;
  /** Made when first needed: most requests run none. */
  #unfinished: Map<string, SessionError> | undefined;
  #tail: Promise<unknown> | undefined;
  #running = 0;

  /** `onDone` is called after each operation, before its caller hears of it. */
  constructor(budget: Budget, onDone: () => void) {
    this.#budget = budget;
    this.#onDone = onDone;
  }

  /** Whether one is in flight, or the store failed one. */
  get isPending(): boolean {
    return this.#running > 0 || (this.#unfinished?.size ?? 0) > 0;
  }

  /** Whether one is in flight. */
  get isRunning(): boolean {
    return this.#running > 0;
  }

  /** Runs `operation` after those begun before it. */
  run<T>(name: string, operation: (budget: Budget) => Promise<T>): Promise<T> {
    this.#running++;
    const result = (this.#tail ?? Promise.resolve()).then(() => operation(this.#budget));
    const settled = result.then(
      () => {
        this.#running--;
        this.forget(name);
        this.#onDone();
      },
      (error: unknown) => {
        this.#running--;
        this.#onDone();
        if (!(error instanceof SessionError) || error.status !== 503) return;
        this.#unfinished ??= new Map();
        this.#unfinished.set(name, error);
      },
    );
    // A cookie that can't be made fails its operation, not the ones behind it.
    this.#tail = settled.catch(() => {});
    return settled.then(() => result);
  }

  /** Resolves when none is in flight. */
  async idle(): Promise<void> {
    while (this.#running > 0) await this.#tail;
  }

  /** Operations of these names were done after all, or are nobody's concern any more. */
  forget(...names: readonly string[]): void {
    for (const name of names) this.#unfinished?.delete(name);
  }

  /** @throws {SessionError} the failure of an operation that did not succeed since */
  throwUnfinished(): void {
    for (const error of this.#unfinished?.values() ?? []) throw error;
  }
}
