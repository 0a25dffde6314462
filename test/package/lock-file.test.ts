/** The lock file: whole, so that `npm ci` accepts it on every platform, whichever one it was last written on. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { root } from "./workshop.ts";

/** An entry of `packages` in package-lock.json; the root's has `devDependencies` as well. */
interface Locked {
  version?: string;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

/** What locked packages depend on and find nowhere in the lock file: beside themselves, or on the way up to the root. */
function absentPackages(packages: Readonly<Record<string, Locked>>): string[] {
  return Object.entries(packages).flatMap(([path, { dependencies, devDependencies, optionalDependencies }]) =>
    Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies })
      .filter((name) => !foldersAbove(path).some((folder) => `${folder}node_modules/${name}` in packages))
      .map((name) => `${name}, of ${path || "the root"}`),
  );
}

/** Where `node_modules/a/node_modules/b` looks: in itself, in `node_modules/a/`, in the root. */
function foldersAbove(path: string): string[] {
  if (path === "") return [""];
  return [`${path}/`, ...foldersAbove(path.slice(0, path.lastIndexOf("node_modules/")).replace(/\/$/, ""))];
}

it("names every package that a locked one depends on, those for other platforms too", async () => {
  const { packages } = JSON.parse(await readFile(join(root, "package-lock.json"), "utf8"));
  const optional = Object.values<Locked>(packages).flatMap((locked) => Object.keys(locked.optionalDependencies ?? {}));
  expect(optional).toEqual(expect.arrayContaining([expect.stringMatching(/darwin/), expect.stringMatching(/win32/)]));
  expect(absentPackages(packages)).toEqual([]);
});

it("is seen to lack a package that nothing on the way up to the root has, wherever it is asked for", () => {
  const locked = {
    "": { dependencies: { a: "1" }, devDependencies: { missing: "1" } },
    "node_modules/a": { version: "1.0.0", dependencies: { c: "1" }, optionalDependencies: { "@a/win32": "1", d: "1" } },
    "node_modules/a/node_modules/c": { version: "1.0.0", dependencies: { d: "1", "@e/e": "1" } },
    "node_modules/a/node_modules/@e/e": { version: "1.0.0", optionalDependencies: { c: "1" } },
    "node_modules/d": { version: "1.0.0", dependencies: { c: "1" } },
  };
  expect(absentPackages(locked)).toEqual([
    "missing, of the root",
    "@a/win32, of node_modules/a",
    "c, of node_modules/d",
  ]);
});
