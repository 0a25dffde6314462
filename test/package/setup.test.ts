/**
 * `npm test` on a machine that lacks something: what it installs, and what it says where it can't. The scripts run in a
 * copy of `.ci/`, with a PATH of their own and stand-ins for npm and apt-get, so that nothing here is installed.
 */
import { execFile } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { outdatedPackages } from "../../.ci/dependencies.mjs";
import { servers } from "../../.ci/servers.mjs";
import { root } from "./workshop.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "holdfast-setup-"));
  await cp(join(root, ".ci"), join(dir, ".ci"), { recursive: true });
  await writeFile(
    join(dir, "package-lock.json"),
    JSON.stringify({ packages: { "node_modules/ms": { version: "2.1.3" } } }),
  );
  await mkdir(join(dir, "bin"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Puts an executable on the PATH of the copy. */
async function program(name: string, script: string): Promise<void> {
  await writeFile(join(dir, "bin", name), `#!/bin/sh\n${script}\n`);
  await chmod(join(dir, "bin", name), 0o755);
}

/** Calls one function of a script of the copy, as a program of its own. */
function call(script: string, code: string, env: NodeJS.ProcessEnv = {}): Promise<{ failed: boolean; output: string }> {
  const main = `import * as it from ${JSON.stringify(join(dir, ".ci", script))};
    try { ${code} } catch (error) { console.log(error.message); process.exitCode = 1; }`;
  return new Promise((resolve) => {
    const options = { cwd: dir, env: { PATH: join(dir, "bin"), ...env } };
    execFile(process.execPath, ["--input-type=module", "-e", main], options, (error, stdout, stderr) => {
      resolve({ failed: error !== null, output: `${stdout}${stderr}` });
    });
  });
}

describe("the dependencies", () => {
  it("are outdated where one is missing or another version, and not where an optional one is missing", () => {
    const locked = { "": {}, a: { version: "1.0.0" }, b: { version: "2.0.0", optional: true } };
    expect(outdatedPackages(locked, { a: { version: "1.0.0" } })).toEqual([]);
    expect(outdatedPackages(locked, { a: { version: "1.0.1" } })).toEqual(["a"]);
    expect(outdatedPackages(locked, { a: { version: "1.0.0" }, b: { version: "1.0.0" } })).toEqual(["b"]);
    expect(outdatedPackages(locked, {})).toEqual(["a"]);
  });

  it("are installed where they are missing, and only then", async () => {
    const npm = join(dir, "npm-cli.js");
    await writeFile(
      npm,
      `const fs = require("node:fs");
       fs.mkdirSync("node_modules");
       fs.copyFileSync("package-lock.json", "node_modules/.package-lock.json");
       fs.writeFileSync("asked", process.argv.slice(2).join(" "));`,
    );
    const first = await call("dependencies.mjs", "it.ensureDependencies();", { npm_execpath: npm });
    expect(first).toEqual({
      failed: false,
      output: expect.stringMatching(/^Installing dependencies .*\nInstalled in \d+ s\.\n$/),
    });
    expect(await readFile(join(dir, "asked"), "utf8")).toMatch(/^ci --include=dev/);
    const second = await call("dependencies.mjs", "it.ensureDependencies();", { npm_execpath: npm });
    expect(second).toEqual({ failed: false, output: "" });
  });

  it("that can't be installed are one clear message with npm's own words", async () => {
    const npm = join(dir, "npm-cli.js");
    await writeFile(npm, `console.error("npm error code ENOTFOUND"); process.exit(1);`);
    const { failed, output } = await call("dependencies.mjs", "it.ensureDependencies();", { npm_execpath: npm });
    expect(failed).toBe(true);
    expect(output).toMatch(/could not be installed: `npm ci` failed[\s\S]*registry reachable[\s\S]*ENOTFOUND/);
  });

  it("whose lock file npm refuses are one message that names what it lacks, and how to write it anew", async () => {
    const npm = join(dir, "npm-cli.js");
    const said = [
      "npm error code EUSAGE",
      "npm error Missing: a@1.0.0 from lock file",
      ...Array(40).fill("npm error help"),
    ];
    await writeFile(npm, `console.error(${JSON.stringify(said.join("\n"))}); process.exit(1);`);
    const { failed, output } = await call("dependencies.mjs", "it.ensureDependencies();", { npm_execpath: npm });
    expect(failed).toBe(true);
    expect(output).toMatch(/does not fit package\.json: run `npm install`[\s\S]*Missing: a@1\.0\.0/);
    expect(output).not.toContain("registry reachable");
    expect(output.split("\n").length).toBeLessThan(24);
  });
});

describe("the servers", () => {
  /** All but the first, which these tests put there. (Each package is named after its command.) */
  const missing = servers.slice(1).map(({ command }) => command);

  it("that are there are left alone", async () => {
    for (const { command } of servers) await program(command, "");
    expect(await call("servers.mjs", "it.ensureServers();")).toEqual({ failed: false, output: "" });
  });

  it("that are missing, with nothing to install them, are one message that says what to install", async () => {
    await program("redis-server", "");
    const { failed, output } = await call("servers.mjs", "it.ensureServers();");
    expect(failed).toBe(true);
    expect(output).toContain(`Missing: ${missing.join(", ")}.`);
    expect(output).toContain(`apt-get install -y ${missing.join(" ")}`);
  });

  it("that are missing come from apt-get, after one update, by root or by sudo without a password", async () => {
    await program("redis-server", "");
    await symlink("/usr/bin/env", join(dir, "bin", "env"));
    await program("sudo", '[ "$1" = -n ] && shift; exec "$@"');
    await program(
      "apt-get",
      `echo "$@" >> ${dir}/asked
       case "$*" in *install*) for name in ${missing.join(" ")}; do
         echo > ${dir}/bin/$name; /bin/chmod +x ${dir}/bin/$name; done;; esac`,
    );
    const { failed, output } = await call("servers.mjs", "it.ensureServers();");
    expect(output.replace(/\d+ s/, "n s")).toBe(`Installing ${missing.join(", ")} (apt-get) …\nInstalled in n s.\n`);
    expect(failed).toBe(false);
    const asked = (await readFile(join(dir, "asked"), "utf8")).trim().split("\n");
    expect(asked.map((line) => line.replace(/^.*?(update|install)/, "$1"))).toEqual([
      "update",
      `install -y --no-install-recommends ${missing.join(" ")}`,
    ]);
  });

  it("that apt-get can't install are one message with its own words", async () => {
    await symlink("/usr/bin/env", join(dir, "bin", "env"));
    await program("sudo", '[ "$1" = -n ] && shift; exec "$@"');
    await program("apt-get", 'echo "E: Unable to fetch some archives" >&2; exit 100');
    const { failed, output } = await call("servers.mjs", "it.ensureServers();");
    expect(failed).toBe(true);
    expect(output).toMatch(/could not install[\s\S]*Unable to fetch[\s\S]*please install them/);
  });
});
