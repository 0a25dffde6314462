/**
 * Packs holdfast as `npm publish` would, installs it into empty folders as a user would, and runs programs there. Only
 * the package tests use it.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ensureBuilt } from "../../.ci/build.mjs";

/** The repository's root. */
export const root: string = join(import.meta.dirname, "..", "..");

/** The parts of `package.json` that matter here. */
export interface Manifest {
  exports: Record<string, string | { types: string; default: string }>;
  devDependencies: Record<string, string>;
}

/** The repository's `package.json`. */
export async function readManifest(): Promise<Manifest> {
  return JSON.parse(await readFile(join(root, "package.json"), "utf8"));
}

/** What a program came to; a failure is a result. */
export interface Run {
  readonly failed: boolean;
  /** All that it printed. */
  readonly output: string;
}

/** Runs a program to its end. */
export function run(cwd: string, command: string, args: readonly string[]): Promise<Run> {
  return new Promise((resolve) => {
    execFile(command, args, { cwd, encoding: "utf8", maxBuffer: 1e8 }, (error, stdout, stderr) => {
      resolve({ failed: error !== null, output: `${stdout}${stderr}` });
    });
  });
}

async function runOrThrow(cwd: string, command: string, args: readonly string[]): Promise<string> {
  const { failed, output } = await run(cwd, command, args);
  if (failed) throw new Error(`${command} ${args.join(" ")}\n${output}`);
  return output;
}

/** A temporary folder with the packed package. */
export class Workshop {
  private constructor(
    readonly dir: string,
    /** The packed file. */
    readonly tarball: string,
    /** What is in it, as paths from the package's root. */
    readonly files: readonly string[],
  ) {}

  /** Packs the sources as they are now. */
  static async open(): Promise<Workshop> {
    ensureBuilt();
    const dir = await mkdtemp(join(tmpdir(), "holdfast-package-"));
    const args = ["pack", "--ignore-scripts", "--json", "--loglevel=error", "--pack-destination", dir];
    const [packed]: { filename: string; files: { path: string }[] }[] = JSON.parse(await runOrThrow(root, "npm", args));
    if (packed === undefined) throw new Error("npm packed nothing");
    return new Workshop(
      dir,
      join(dir, packed.filename),
      packed.files.map(({ path }) => path),
    );
  }

  /** Installs the package and `beside` it those development dependencies of ours, in an empty folder; its path. */
  async install(name: string, beside: readonly string[]): Promise<string> {
    const { devDependencies } = await readManifest();
    const folder = join(this.dir, name);
    await mkdir(folder);
    await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
    const packages = beside.map((dependency) => `${dependency}@${devDependencies[dependency]}`);
    const quiet = ["--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"];
    await runOrThrow(folder, "npm", ["install", ...quiet, this.tarball, ...packages]);
    return folder;
  }

  /** Removes everything. */
  async close(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** Starts a server program that prints its port, hands its URL to `use`, and ends it. */
export async function withServer<T>(cwd: string, file: string, use: (url: string) => Promise<T>): Promise<T> {
  const child = spawn(process.execPath, [file], { cwd, stdio: ["ignore", "pipe", "pipe"] });
  const exited = once(child, "exit");
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complaint += chunk;
  });
  try {
    const printed = once(createInterface(child.stdout), "line");
    const [line] = await Promise.race([printed, exited.then(() => [`${file} ended: ${complaint}`])]);
    if (!/^\d+$/.test(line)) throw new Error(line);
    return await use(`http://127.0.0.1:${line}/`);
  } finally {
    child.kill();
    await exited;
  }
}
