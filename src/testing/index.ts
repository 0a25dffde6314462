/**
 * `holdfast/testing`: for authors of stores (`storeContract`), and for people who test their own apps (`signIn`: a
 * session and its cookie header without a login round trip). Imports no test runner.
 */
export { type ManualClock, manualClock } from "./manual-clock.ts";
export { type SignedIn, type SignInOptions, signIn } from "./sign-in.ts";
export { type ContractCase, type MakeStore, storeContract } from "./store-contract.ts";
