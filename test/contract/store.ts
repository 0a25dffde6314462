/** The published store contract, run by vitest: one test per case. Called by the tests of each store. */
import { describe, test } from "vitest";
import type { MakeStore } from "../../src/testing/contract-kit.ts";
import { storeContract } from "../../src/testing/store-contract.ts";

/** Declares the contract's cases for one way of making a store. */
export function runStoreContract(what: string, make: MakeStore): void {
  describe(`${what} keeps the store contract`, () => {
    for (const { name, run } of storeContract(make)) test(name, run);
  });
}
