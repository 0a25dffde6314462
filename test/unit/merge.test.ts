import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jsonCodec } from "../../src/codec.ts";
import { merge, rebase, setKey } from "../../src/merge.ts";

const codec = jsonCodec();

describe("merge by top-level key", () => {
  it("keeps what each side changed", () => {
    const merged = merge({ a: 1, b: 1 }, { a: 2, b: 1, c: 1 }, { a: 1, b: 3, d: 1 }, codec);
    expect(merged).toEqual({ data: { a: 2, b: 3, c: 1, d: 1 }, conflicts: [] });
  });

  it("counts a nested change as a change of its key", () => {
    const merged = merge({ cart: { items: [1] } }, { cart: { items: [1, 2] } }, { cart: { items: [1] } }, codec);
    expect(merged.data).toEqual({ cart: { items: [1, 2] } });
  });

  it("keeps a deletion by either side", () => {
    expect(merge({ a: 1, b: 1 }, { b: 1 }, { a: 1 }, codec).data).toEqual({});
  });

  it("lets mine win on a key that both changed, and says which", () => {
    expect(merge({ a: 1 }, { a: 2 }, { a: 3 }, codec)).toEqual({ data: { a: 2 }, conflicts: ["a"] });
    expect(merge({ a: 1 }, {}, { a: 3 }, codec)).toEqual({ data: {}, conflicts: ["a"] });
  });

  it("sees no conflict where both made the same change", () => {
    expect(merge({}, { a: { x: 1 } }, { a: { x: 1 } }, codec)).toEqual({ data: { a: { x: 1 } }, conflicts: [] });
  });

  it("merges keys named __proto__ and constructor as data", () => {
    const mine: Record<string, unknown> = {};
    setKey(mine, "__proto__", { polluted: true });
    const { data } = merge({}, mine, { constructor: 1 }, codec);
    expect(Object.keys(data).sort()).toEqual(["__proto__", "constructor"]);
    expect(Object.getPrototypeOf(data)).toBe(Object.prototype);
    expect("polluted" in {}).toBe(false);
  });

  it("loses no change of either side, whatever the data", () => {
    const data = fc.dictionary(fc.constantFrom("a", "b", "c", "d"), fc.integer({ min: 0, max: 3 }));
    fc.assert(
      fc.property(data, data, data, (base, mine, theirs) => {
        const merged = merge(base, mine, theirs, codec).data;
        for (const key of ["a", "b", "c", "d"]) {
          const expected = mine[key] !== base[key] ? mine[key] : theirs[key];
          expect(merged[key]).toBe(expected);
        }
      }),
    );
  });
});

describe("rebase of a live object", () => {
  it("carries a change over and leaves what the object changed itself", () => {
    const live: Record<string, unknown> = { a: 1, b: 5, c: 1 };
    rebase(live, { a: 1, b: 1, c: 1 }, { a: 2, b: 2, d: 4 }, codec);
    expect(live).toEqual({ a: 2, b: 5, d: 4 });
  });

  it("leaves a value that can't be encoded alone", () => {
    const live: Record<string, unknown> = { a: 1n };
    rebase(live, { a: 1 }, { a: 2 }, codec);
    expect(live.a).toBe(1n);
  });
});
