import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { newSecret, publicIdOf, randomSecret } from "../../src/id.ts";
import { tally, times } from "../support/counts.ts";

/** Shannon's entropy of the characters, in bits each. */
function bitsPerCharacter(texts: Iterable<string>): number {
  const counts = new Map<string, number>();
  let total = 0;
  for (const text of texts) {
    for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1);
    total += text.length;
  }
  return [...counts.values()].reduce((bits, count) => bits - (count / total) * Math.log2(count / total), 0);
}

describe("a secret (ASVS 7.2.3, NIST SP 800-63B)", () => {
  it("has 192 bits as 32 base64url characters, no two alike, each bit set half of the time", () => {
    const count = times(100_000, 1_000_000);
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
    // χ² over all bits at once, one degree of freedom each: 192 ± 6 standard deviations of √(2 · 192).
    const chiSquare = ones.reduce((sum, set) => sum + (set - count / 2) ** 2 / (count / 4), 0);
    expect(Math.abs(chiSquare - 192)).toBeLessThan(6 * Math.sqrt(2 * 192));
    expect([...seen].every((secret) => /^[A-Za-z0-9_-]{32}$/.test(secret))).toBe(true);
    expect(bitsPerCharacter(seen)).toBeGreaterThanOrEqual(5.9);
    tally("T11", "ids, no two alike", seen.size);
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

describe("randomness", () => {
  it("comes from node:crypto alone: no source calls Math.random", () => {
    const folders = ["src", "adapters"].map((name) => join(import.meta.dirname, "..", "..", name));
    const files = folders.flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => join(folder, name)),
    );
    const sources = files.filter((file) => file.endsWith(".ts"));
    expect(sources.length).toBeGreaterThan(40);
    expect(sources.filter((file) => /Math\s*\.\s*random/.test(readFileSync(file, "utf8")))).toEqual([]);
  });
});

describe("a public id", () => {
  it("is the base64url SHA-256 of the secret", () => {
    const expected = createHash("sha256").update("a secret").digest("base64url");
    expect(publicIdOf("a secret")).toBe(expected);
    expect(expected).toHaveLength(43);
  });
});
