/** What is remembered of verified cookies: what a signature costs is paid once, and no sender decides how much is kept. */
import crypto from "node:crypto";
import { beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { signCookie } from "../../src/cookie.ts";
import { publicIdOf, randomSecret } from "../../src/id.ts";
import { KnownCookies } from "../../src/known-cookies.ts";

const keys = ["the newest secret, of thirty-two characters", "an older secret, of thirty-two characters"];
const [newest = "", older = ""] = keys;

/** Signatures that were computed so far. */
let hmacs: MockInstance;
beforeEach(() => {
  hmacs = vi.spyOn(crypto, "createHmac");
});

/** A signed value, made without a trace in the count. */
function signed(secret: string, key = newest, route?: string): string {
  const value = signCookie(secret, [key], route);
  hmacs.mockClear();
  return value;
}

describe("a cookie that comes again", () => {
  it("is verified once, and leads to the same session each time", () => {
    const known = new KnownCookies(keys, undefined);
    const secret = randomSecret();
    const value = signed(secret);
    const expected = { secret, id: publicIdOf(secret), isOutdated: false };
    expect([known.verify(value), known.verify(value), known.verify(`${value}`)]).toEqual([
      expected,
      expected,
      expected,
    ]);
    expect(hmacs).toHaveBeenCalledTimes(1);
  });

  it("stays outdated where an older key signed it, or another node routed it", () => {
    const byOlder = new KnownCookies(keys, undefined);
    const old = signed(randomSecret(), older);
    for (let turn = 0; turn < 2; turn++) expect(byOlder.verify(old)).toMatchObject({ isOutdated: true });
    expect(hmacs).toHaveBeenCalledTimes(2);
    const routed = new KnownCookies(keys, "n1");
    const secret = randomSecret();
    const [ours, theirs] = [signed(secret, newest, "n1"), signed(secret, newest, "n2")];
    for (let turn = 0; turn < 2; turn++) {
      expect(routed.verify(ours)).toMatchObject({ secret, isOutdated: false });
      expect(routed.verify(theirs)).toMatchObject({ secret, isOutdated: true });
    }
    expect(hmacs).toHaveBeenCalledTimes(2);
  });
});

describe("a cookie that is not kept", () => {
  it("is one that is refused: each time it comes it is looked at anew", () => {
    const known = new KnownCookies(keys, undefined);
    const value = signed(randomSecret(), "a secret that no node has, of 32 characters");
    for (let turn = 0; turn < 2; turn++) expect(known.verify(value)).toEqual({ reason: "bad-signature" });
    expect(hmacs).toHaveBeenCalledTimes(2 * keys.length);
  });

  it("is one that its sender made long: what stands behind the signature is not signed", () => {
    const known = new KnownCookies(keys, "n1");
    const secret = randomSecret();
    const value = `${signed(secret)}.${"x".repeat(4_000)}`;
    for (let turn = 0; turn < 2; turn++) {
      expect(known.verify(value)).toEqual({ secret, id: publicIdOf(secret), isOutdated: true });
    }
    expect(hmacs).toHaveBeenCalledTimes(2);
  });

  it("is the one that came longest ago, when there are more than 10,000", () => {
    const known = new KnownCookies(keys, undefined);
    const first = signed(randomSecret());
    const second = signed(randomSecret());
    for (const value of [first, second]) known.verify(value);
    // Each of the others takes a place; the second one is asked for in between.
    for (let others = 0; others < 9_999; others++) known.verify(signed(randomSecret()));
    known.verify(second);
    hmacs.mockClear();
    known.verify(second);
    expect(hmacs).not.toHaveBeenCalled();
    known.verify(first);
    expect(hmacs).toHaveBeenCalledTimes(1);
  });
});
