import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { newSecret, publicIdOf, randomSecret } from "../../src/id.ts";

describe("a secret (ASVS 7.2.3, NIST SP 800-63B)", () => {
  it("has 192 bits as 32 base64url characters, no two alike, each bit set half of the time", () => {
    const count = 100_000;
    const seen = new Set<string>();
    const ones = new Array<number>(192).fill(0);
    for (let i = 0; i < count; i++) {
      const secret = randomSecret();
      seen.add(secret);
      const bytes = Buffer.from(secret, "base64url");
      for (let bit = 0; bit < 192; bit++) {
        ones[bit] = (ones[bit] ?? 0) + (((bytes[bit >> 3] ?? 0) >> (bit & 7)) & 1);
      }
    }
    expect(seen.size).toBe(count);
    // Six standard deviations of a fair coin: a false alarm once in millions of runs over all bits.
    const tolerance = 6 * Math.sqrt(count / 4);
    for (const set of ones) expect(Math.abs(set - count / 2)).toBeLessThan(tolerance);
    expect([...seen].every((secret) => /^[A-Za-z0-9_-]{32}$/.test(secret))).toBe(true);
  });

  it("is refused where a generator fails to give one, and never replaced by a guess", () => {
    expect(() =>
      newSecret(() => {
        throw new Error("no entropy");
      }),
    ).toThrow("no entropy");
    expect(() => newSecret(() => "")).toThrow(expect.objectContaining({ code: "ERR_SESSION_ID" }) as Error);
    expect(newSecret(() => "A".repeat(22))).toBe("A".repeat(22));
  });
});

describe("a public id", () => {
  it("is the base64url SHA-256 of the secret", () => {
    const expected = createHash("sha256").update("a secret").digest("base64url");
    expect(publicIdOf("a secret")).toBe(expected);
    expect(expected).toHaveLength(43);
  });
});
