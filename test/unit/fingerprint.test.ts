import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Data } from "../../src/codec.ts";
import { Fingerprint } from "../../src/fingerprint.ts";

const printOf = (data: Data): Fingerprint => {
  const print = Fingerprint.of(data, JSON.stringify(data));
  if (print === undefined) throw new Error("no fingerprint");
  return print;
};

/** JSON objects as a session holds them. */
const dataArbitrary = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 5 }), { maxKeys: 6, noNullPrototype: true });

describe("the fingerprint of a session's data", () => {
  it("matches the data that it is of, and never data of another text", () => {
    fc.assert(
      fc.property(dataArbitrary, fc.context(), (data, context) => {
        const parsed: Data = JSON.parse(JSON.stringify(data));
        const before = JSON.stringify(parsed);
        const print = printOf(parsed);
        expect(print.text).toBe(before);
        expect(print.matches(parsed)).toBe(true);
        const changed = changedSomewhere(parsed);
        context.log(JSON.stringify(parsed));
        expect(print.matches(parsed)).toBe(!changed || JSON.stringify(parsed) === before);
      }),
    );
  });

  const shapes: [change: string, apply: (data: { user: Data; list: unknown[]; n: unknown }) => unknown][] = [
    ["a value", (data) => Object.assign(data, { n: 2 })],
    ["a value to one that is written alike", (data) => Object.assign(data, { n: "1" })],
    ["a nested value", (data) => Object.assign(data.user, { name: "grace" })],
    ["a nested key more", (data) => Object.assign(data.user, { age: 36 })],
    ["a nested key less", (data) => Reflect.deleteProperty(data.user, "name")],
    ["the order of keys", (data) => Object.assign(data.user, rotated(data.user))],
    ["an element", (data) => data.list.splice(1, 1, 3)],
    ["an element more", (data) => data.list.push(3)],
    ["an element less", (data) => data.list.pop()],
    ["an object to an equal one", (data) => Object.assign(data, { user: { ...data.user } })],
    ["an object to a Date", (data) => Object.assign(data, { user: new Date(0) })],
    ["the class of an object", (data) => Object.setPrototypeOf(data.user, Map.prototype)],
    ["a number to NaN", (data) => Object.assign(data, { n: Number.NaN })],
  ];
  it.each(shapes)("doesn't match once somebody changed %s", (_change, apply) => {
    const data = { user: { id: 1, name: "ada" } as Data, list: [1, 2], n: 1 as unknown };
    const print = printOf(data);
    apply(data);
    expect(print.matches(data)).toBe(false);
  });

  it("says nothing of what is no plain JSON, of circles, and of what is nested deep", () => {
    class Cart {
      items = 1;
    }
    const circle: Data = {};
    circle.circle = circle;
    const deep = Array.from({ length: 30 }).reduce<Data>((inner) => ({ inner }), {});
    for (const value of [
      new Date(),
      new Cart(),
      new Map(),
      () => 1,
      Symbol("s"),
      1n,
      { toJSON: () => 1 },
      circle,
      deep,
    ]) {
      expect(Fingerprint.of({ value }, "")).toBeUndefined();
    }
  });

  it("doesn't throw what the user's own code throws", () => {
    const data: Data = { a: 1 };
    const print = printOf(data);
    Object.defineProperty(data, "a", {
      enumerable: true,
      get() {
        throw new Error("mine");
      },
    });
    expect(print.matches(data)).toBe(false);
  });
});

function rotated(object: Data): Data {
  const [first, ...rest] = Object.entries(object);
  for (const key of Object.keys(object)) delete object[key];
  return Object.fromEntries([...rest, ...(first === undefined ? [] : [first])]);
}

/** Changes the first plain value that it finds; `false`: there is none. */
function changedSomewhere(value: object): boolean {
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === "object" && inner !== null) {
      if (changedSomewhere(inner)) return true;
    } else {
      Reflect.set(value, key, "changed");
      return true;
    }
  }
  return false;
}
