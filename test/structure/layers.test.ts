/** The layer rule holds in the sources, and the test that says so can fail. */
import { describe, expect, it } from "vitest";
import { violations } from "./layers.ts";
import { parseSource, readSources } from "./source.ts";

/** A small tree that breaks no rule. */
const sound: Record<string, string[]> = {
  "src/errors.ts": [],
  "src/store.ts": [],
  "src/exchange.ts": [],
  "src/codec.ts": ["src/errors.ts"],
  "src/merge.ts": ["src/codec.ts"],
  "src/options.ts": ["src/codec.ts", "ms"],
  "src/stores/memory.ts": ["src/store.ts"],
  "src/stores/redis.ts": ["src/store.ts", "src/stores/redis-scripts.ts", "ioredis"],
  "src/stores/redis-scripts.ts": [],
  "src/commit.ts": ["src/merge.ts", "src/store.ts"],
  "src/session.ts": ["src/commit.ts"],
  "src/visit.ts": ["src/session.ts"],
  "src/engine.ts": ["src/visit.ts", "src/stores/memory.ts", "node:events"],
  "src/index.ts": ["src/engine.ts", "src/session.ts"],
  "src/testing/index.ts": ["src/index.ts", "src/commit.ts"],
  "adapters/response-gate.ts": ["node:http"],
  "adapters/express.ts": ["src/index.ts", "src/exchange.ts", "adapters/response-gate.ts", "express"],
  "adapters/koa.ts": ["src/index.ts", "adapters/koa-commit.ts", "koa"],
  "adapters/koa-commit.ts": ["koa"],
};

const withImport = (from: string, to: string): string[] =>
  violations(new Map(Object.entries({ ...sound, [from]: [...(sound[from] ?? []), to] })));

describe("layers", () => {
  it("hold in src/ and adapters/: imports point one way, without a circle", () => {
    const sources = readSources();
    expect(sources.map(({ path }) => path)).toContain("src/index.ts");
    expect(violations(new Map(sources.map(({ path, imports }) => [path, imports])))).toEqual([]);
  });

  it("are not broken by a sound tree", () => {
    expect(violations(new Map(Object.entries(sound)))).toEqual([]);
  });

  it.each([
    ["a port imports a mechanism", "src/store.ts", "src/merge.ts"],
    ["a mechanism imports the commit", "src/merge.ts", "src/commit.ts"],
    ["the commit imports the visit", "src/commit.ts", "src/visit.ts"],
    ["the visit imports the engine", "src/visit.ts", "src/engine.ts"],
    ["the core imports its own index", "src/engine.ts", "src/index.ts"],
    ["the core imports an adapter", "src/engine.ts", "adapters/koa.ts"],
    ["the core imports the Redis store", "src/engine.ts", "src/stores/redis.ts"],
    ["the core imports the test kit", "src/index.ts", "src/testing/index.ts"],
    ["a store imports a mechanism", "src/stores/memory.ts", "src/merge.ts"],
    ["an adapter reaches past the index", "adapters/koa.ts", "src/commit.ts"],
    ["an adapter imports another adapter", "adapters/koa.ts", "adapters/express.ts"],
    ["an adapter imports another one's helper", "adapters/express.ts", "adapters/koa-commit.ts"],
    ["a helper imports an adapter", "adapters/response-gate.ts", "adapters/koa.ts"],
    ["a helper imports another framework", "adapters/koa-commit.ts", "fastify"],
    ["an adapter imports another framework", "adapters/koa.ts", "express"],
    ["an adapter's helper imports a framework", "adapters/response-gate.ts", "express"],
    ["the core imports a framework", "src/engine.ts", "koa"],
    ["the core imports ioredis", "src/engine.ts", "ioredis"],
    ["the memory store imports ioredis", "src/stores/memory.ts", "ioredis"],
    ["the test kit imports a test runner", "src/testing/index.ts", "vitest"],
    ["an import can't be followed", "src/engine.ts", "<computed>"],
  ])("break when %s", (_why, from, to) => {
    expect(withImport(from, to)).toContain(`${from} must not import ${to}`);
  });

  it("break on a circle within one layer", () => {
    expect(withImport("src/stores/redis-scripts.ts", "src/stores/redis.ts")).toEqual([
      "circle: src/stores/redis.ts → src/stores/redis-scripts.ts → src/stores/redis.ts",
    ]);
  });

  it("break on a file that imports itself, one that isn't there, and one that has no layer", () => {
    expect(withImport("src/commit.ts", "src/commit.ts")).toEqual(["circle: src/commit.ts → src/commit.ts"]);
    expect(withImport("src/commit.ts", "src/lost.ts")).toEqual([
      "src/commit.ts imports src/lost.ts, which does not exist",
    ]);
    expect(withImport("src/new.ts", "src/errors.ts")).toContain(
      "src/new.ts has no layer: give it one in test/structure/layers.ts",
    );
  });
});

describe("the import reader", () => {
  it("sees every way to import, and no text that only looks like one", () => {
    const { imports } = parseSource(
      "src/stores/x.ts",
      `import a, { b } from "../a.ts";
       import type { C } from "../c.ts";
       import { type D } from "./d.ts";
       import "side-effect/deep";
       export * from "../e.ts";
       export type { F } from "../f.ts";
       export const g: import("../g.ts").G = 1;
       export const h = () => import("@scope/h/deep");
       export const i = (name: string) => import(name);
       import j = require("../j.ts");
       // import "./comment.ts"
       export const k = 'import "./text.ts"';`,
    );
    expect([...imports].sort()).toEqual(
      [
        ...["src/a.ts", "src/c.ts", "src/stores/d.ts", "side-effect", "src/e.ts", "src/f.ts", "src/g.ts"],
        ...["@scope/h", "<computed>", "src/j.ts"],
      ].sort(),
    );
  });

  it("measures functions by their lines, methods and arrows too", () => {
    const { functions, lines } = parseSource(
      "src/x.ts",
      "export function a() {\n  return 1;\n}\nexport class B {\n  c() {\n    return () => {\n      return 2;\n    };\n  }\n}\n",
    );
    expect(lines).toBe(10);
    expect(functions).toEqual([
      { at: "src/x.ts:1", lines: 3 },
      { at: "src/x.ts:5", lines: 5 },
      { at: "src/x.ts:6", lines: 3 },
    ]);
  });
});
