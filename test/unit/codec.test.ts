import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jsonCodec } from "../../src/codec.ts";
import { SessionError } from "../../src/errors.ts";
import { seed, tally, times } from "../support/counts.ts";

const codec = jsonCodec();

function refusal(value: unknown): SessionError {
  try {
    codec.encode({ ok: 1, bad: value });
  } catch (error) {
    if (error instanceof SessionError) return error;
    throw error;
  }
  throw new Error("it was encoded");
}

const circular: Record<string, unknown> = {};
circular.self = { again: circular };
const deep = JSON.parse(`${"[".repeat(20_000)}${"]".repeat(20_000)}`) as unknown;

function fail(message: string): never {
  throw new TypeError(message);
}

describe("the JSON codec", () => {
  it.each([
    ["a Map", new Map([[1, 2]]), "Map"],
    ["a Set", new Set([1]), "Set"],
    ["a BigInt", 1n, "bigint"],
    ["NaN", Number.NaN, "NaN"],
    ["Infinity", Number.POSITIVE_INFINITY, "Infinity"],
    ["a function", () => 1, "function"],
    ["a symbol", Symbol("x"), "symbol"],
    ["a circular value", circular, "circular"],
    ["nesting of 20,000 levels", deep, "nesting"],
    ["a RegExp", /x/, "RegExp"],
    ["an Error", new Error("x"), "Error"],
    ["a Promise", Promise.resolve(), "Promise"],
    ["a typed array", new Uint8Array(2), "Uint8Array"],
    ["an invalid Date", new Date(Number.NaN), "invalid Date"],
    ["a nested Map", { a: [1, { b: new Map() }] }, "Map"],
  ])("refuses %s with an error that names the key and the finding", (_name, value, finding) => {
    const error = refusal(value);
    expect(error.code).toBe("ERR_SESSION_VALUE");
    expect(error.message).toContain('session["bad"]');
    expect(error.message).toContain(finding);
  });

  it("names the path to a value deep inside", () => {
    expect(refusal({ items: [{ price: 1n }] }).message).toContain('session["bad"].items[0].price');
  });

  it.each([
    ["toJSON", { toJSON: () => fail("from toJSON") }, "from toJSON"],
    [
      "a getter",
      {
        get x(): never {
          return fail("from a getter");
        },
      },
      "from a getter",
    ],
    ["a proxy", new Proxy({}, { ownKeys: () => fail("from a proxy") }), "from a proxy"],
  ])("names the key where %s throws, and keeps the cause", (_name, value, reason) => {
    const error = refusal(value);
    expect(error.message).toContain('session["bad"]');
    expect(error.message).toContain(reason);
    expect(error.cause).toBeInstanceOf(TypeError);
  });

  it("keeps what has toJSON as its JSON and reports key and type", () => {
    const seen: string[] = [];
    const listening = jsonCodec((key, type) => seen.push(`${key}:${type}`));
    class ObjectId {
      toJSON(): string {
        return "65f0";
      }
    }
    const text = listening.encode({ at: new Date(0), ref: new ObjectId(), plain: { x: 1 } });
    expect(JSON.parse(text)).toEqual({ at: "1970-01-01T00:00:00.000Z", ref: "65f0", plain: { x: 1 } });
    expect(seen).toEqual(["at:Date", "ref:ObjectId"]);
  });

  it("treats undefined as absent", () => {
    expect(codec.encode({ a: undefined, b: { c: undefined } })).toBe('{"b":{}}');
  });

  it("takes the same object twice, which is not circular", () => {
    const shared = { x: 1 };
    expect(codec.decode(codec.encode({ a: shared, b: [shared] }))).toEqual({ a: { x: 1 }, b: [{ x: 1 }] });
  });

  it.each(["[1]", "null", '"text"', "3", "{", "", `{"a":${"[".repeat(5000)}${"]".repeat(5000)}}`])(
    "does not decode %.20s, which is no object of data",
    (text) => {
      expect(() => codec.decode(text)).toThrow();
    },
  );

  const values = times(500, 100_000);

  it("gives back every JSON value under every key, __proto__ and the empty one too", () => {
    const key = fc.oneof(fc.string(), fc.constantFrom("__proto__", "", "constructor", "toString", "hasOwnProperty"));
    // -0 is 0 in JSON.
    const value = fc.jsonValue().map((json) => JSON.parse(JSON.stringify(json)) as unknown);
    fc.assert(
      fc.property(fc.array(fc.tuple(key, value), { maxLength: 8 }), (entries) => {
        const data: Record<string, unknown> = {};
        for (const [name, json] of entries) {
          Object.defineProperty(data, name, { value: json, enumerable: true, configurable: true, writable: true });
        }
        const back = codec.decode(codec.encode(data));
        expect(Object.entries(back)).toEqual(Object.entries(data));
        expect(Object.getPrototypeOf({})).toBe(Object.prototype);
      }),
      { numRuns: values, seed },
    );
    tally("T14", "values that come back as they were", values);
  });

  it("reads what it wrote, nested as deep as it lets anybody nest", () => {
    const nested = (levels: number): unknown => (levels === 0 ? 1 : { inner: nested(levels - 1) });
    const codec = jsonCodec();
    const text = codec.encode({ deepest: nested(200) });
    expect(codec.encode(codec.decode(text))).toBe(text);
    expect(() => codec.encode({ deepest: nested(201) })).toThrow(/nesting deeper than 200/);
    expect(() => codec.decode(`{"deepest":${JSON.stringify(nested(201))}}`)).toThrow(/nested too deep/);
  });
});
