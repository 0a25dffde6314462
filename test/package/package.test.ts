/** What a user gets from npm: packed, installed into empty folders, and used there in every way it may be. */
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readManifest, root, run, Workshop, withServer } from "./workshop.ts";

const consumer = join(import.meta.dirname, "consumer");
const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
/** Each with what its users have installed, and nothing of the others. */
const frameworks = {
  express: ["express", "@types/express", "@types/node"],
  koa: ["koa", "@types/koa", "@types/node"],
  fastify: ["fastify", "@types/node"],
} as const;
const installMs = 120_000;

let workshop: Workshop;
beforeAll(async () => {
  workshop = await Workshop.open();
}, installMs);
afterAll(() => workshop?.close());

/** Asks twice, with the cookie of the first answer. */
async function visitTwice(url: string): Promise<unknown[]> {
  const first = await fetch(url);
  const [cookie = ""] = first.headers.getSetCookie().map((line) => line.split(";", 1).join());
  const second = await fetch(url, { headers: { cookie } });
  return [await first.json(), await second.json(), second.headers.getSetCookie()];
}

const twoVisits = [{ views: 1 }, { before: "ada", views: 2 }, []];

describe("the package file", () => {
  it("holds what exports point to, the licence, the change log and the readme", async () => {
    const { exports } = await readManifest();
    const targets = Object.values(exports).flatMap((target) =>
      typeof target === "string" ? [target] : Object.values(target),
    );
    const wanted = [...targets.map((path) => path.replace(/^\.\//, "")), "LICENSE", "CHANGELOG.md", "README.md"];
    expect(workshop.files).toEqual(expect.arrayContaining(wanted));
  });

  it("holds nothing else: no tests, no sources, no settings", () => {
    const expected = /^(dist\/(src|adapters)\/[\w/-]+\.(js|d\.ts)|package\.json|LICENSE|CHANGELOG\.md|README\.md)$/;
    expect(workshop.files.filter((path) => !expected.test(path))).toEqual([]);
  });
});

describe.each(Object.entries(frameworks))("installed beside %s alone", (framework, beside) => {
  let folder: string;
  beforeAll(async () => {
    folder = await workshop.install(framework, beside);
    for (const name of [
      `${framework}.ts`,
      `${framework}.mjs`,
      `${framework}.cjs`,
      "session-data.ts",
      "tsconfig.json",
    ]) {
      await cp(join(consumer, name), join(folder, name));
    }
  }, installMs);

  it("type checks, declarations of libraries included, builds and keeps a session from ESM TypeScript", async () => {
    expect(await run(folder, process.execPath, [tsc, "-p", "."])).toEqual({ failed: false, output: "" });
    expect(await withServer(folder, `built/${framework}.js`, visitTwice)).toEqual(twoVisits);
  });

  it("keeps a session from plain JavaScript", async () => {
    expect(await withServer(folder, `${framework}.mjs`, visitTwice)).toEqual(twoVisits);
  });

  it("keeps a session from CommonJS, with require()", async () => {
    expect(await withServer(folder, `${framework}.cjs`, visitTwice)).toEqual(twoVisits);
  });
});

describe("installed alone", () => {
  let folder: string;
  let subpaths: string[];
  beforeAll(async () => {
    folder = await workshop.install("alone", []);
    subpaths = Object.keys((await readManifest()).exports).map((path) => path.replace(/^\./, "holdfast"));
  }, installMs);

  it("loads every subpath with import, no framework and no ioredis being there", async () => {
    const code = `for (const path of ${JSON.stringify(subpaths)})
      await import(path, path.endsWith(".json") ? { with: { type: "json" } } : {});
      console.log("loaded");`;
    const { output } = await run(folder, process.execPath, ["--no-warnings", "--input-type=module", "-e", code]);
    expect(output).toBe("loaded\n");
  });

  it("gives require() the very things that it gives import", async () => {
    const code = `const paths = ${JSON.stringify(subpaths.filter((path) => !path.endsWith(".json")))};
      const isSame = async (path) => {
        const [required, imported] = [require(path), await import(path)];
        const names = Object.keys(imported).filter((name) => !["default", "module.exports"].includes(name));
        return names.length > 0 && names.every((name) => required[name] === imported[name]);
      };
      Promise.all(paths.map(isSame)).then((same) => console.log(JSON.stringify(same)));`;
    const { output } = await run(folder, process.execPath, ["--no-warnings", "--input-type=commonjs", "-e", code]);
    expect(JSON.parse(output)).toEqual(subpaths.slice(1).map(() => true));
  });

  it("says what to install where a Redis URL needs ioredis", async () => {
    const code = `import { redisStore } from "holdfast/redis";
      try { redisStore("redis://127.0.0.1:1"); } catch (error) { console.log(error.code, error.message); }`;
    const { output } = await run(folder, process.execPath, ["--input-type=module", "-e", code]);
    expect(output).toMatch(/^ERR_SESSION_OPTION .*npm install ioredis/);
  });

  it("hides its insides", async () => {
    const code = `import("holdfast/dist/src/engine.js").catch((error) => console.log(error.code));`;
    const { output } = await run(folder, process.execPath, ["--input-type=module", "-e", code]);
    expect(output).toBe("ERR_PACKAGE_PATH_NOT_EXPORTED\n");
  });
});
