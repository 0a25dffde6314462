/**
 * The suite that every store must pass: each sentence of the store port (`src/store.ts`) as a case. It needs no test
 * runner: each case is a name and a function that rejects when the store is wrong.
 *
 * ```ts
 * for (const { name, run } of storeContract(async (clock) => ({ store: myStore({ clock: () => clock.now() }), end }))) {
 *   test(name, run);
 * }
 * ```
 */
import { endingCases } from "./contract-endings.ts";
import { type ContractCase, type MakeStore, runCase } from "./contract-kit.ts";
import { lifetimeCases } from "./contract-lifetimes.ts";
import { raceCases } from "./contract-races.ts";
import { recordCases } from "./contract-records.ts";

export type { ContractCase, MakeStore } from "./contract-kit.ts";

/**
 * The cases. `make` is called once a case: with the clock that the store must take for its own, it resolves to an empty
 * store and to what ends it. The clock starts at the present and jumps by hours, so that a backend which removes
 * records by its own clock doesn't do so while a case runs.
 */
export function storeContract(make: MakeStore): ContractCase[] {
  return [...recordCases, ...lifetimeCases, ...endingCases, ...raceCases].map(([name, check]) => ({
    name,
    run: () => runCase(make, check),
  }));
}
