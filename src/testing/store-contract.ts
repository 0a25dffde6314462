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
import type { Endings } from "../endings.ts";
import type { ExpiryIndex } from "../expiry-index.ts";
import type { PrincipalIndex } from "../principal-index.ts";
import type { Store } from "../store.ts";
import { endingCases } from "./contract-endings.ts";
import { announcingCases, expiryCases } from "./contract-events.ts";
import { type ContractCase, type MakeStore, runCapabilityCase, runCase } from "./contract-kit.ts";
import { lifetimeCases } from "./contract-lifetimes.ts";
import { peekCases } from "./contract-peek.ts";
import { principalCases } from "./contract-principals.ts";
import { raceCases } from "./contract-races.ts";
import { recordCases } from "./contract-records.ts";

export type { ContractCase, MakeStore } from "./contract-kit.ts";

/**
 * The cases. `make` is called once a case: with the clock that the store must take for its own, it resolves to an empty
 * store and to what ends it. A case of a capability passes where the store has none. The clock starts at the present and jumps by hours, so that a backend which removes
 * records by its own clock doesn't do so while a case runs.
 */
export function storeContract(make: MakeStore): ContractCase[] {
  const verbs = [...recordCases, ...lifetimeCases, ...endingCases, ...raceCases].map(([name, check]) => ({
    name,
    run: () => runCase(make, check),
  }));
  const principals = principalCases.map(([name, check]) => ({
    name: `principals: ${name}`,
    run: () =>
      runCapabilityCase<"principals", PrincipalIndex>(make, "principals", (stage, index) => check({ ...stage, index })),
  }));
  const expiries = expiryCases.map(([name, check]) => ({
    name: `expiries: ${name}`,
    run: () => runCapabilityCase<"expiries", ExpiryIndex>(make, "expiries", check),
  }));
  const endings = announcingCases.map(([name, check]) => ({
    name: `endings: ${name}`,
    run: () => runCapabilityCase<"endings", Endings>(make, "endings", check),
  }));
  const peeks = peekCases.map(([name, check]) => ({
    name: `peek: ${name}`,
    run: () =>
      runCapabilityCase<"peek", NonNullable<Store["peek"]>>(make, "peek", (stage, peek) =>
        check(stage, peek.bind(stage.store)),
      ),
  }));
  return [...verbs, ...peeks, ...principals, ...expiries, ...endings];
}
