// @ts-check
/**
 * The processes of a cluster on this machine: starts programs in one temporary folder, kills, stops and revives them
 * by name, and ends them all. Nothing outlives this process, however it ends. It knows no program; called by
 * `demo.mjs`, by what it starts, and by `npm run chaos`.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

/**
 * @typedef {"up" | "hung" | "down"} State hung: stopped by SIGSTOP, its connections stay open
 *
 * @typedef {object} Program
 * @property {string} command
 * @property {string[]} args
 * @property {Record<string, string>} [env] added to this process's own
 * @property {boolean} [isGentle] ended by SIGTERM, and killed only when that takes too long; otherwise killed at once
 *
 * @typedef {Program & { child: import("node:child_process").ChildProcess, state: State, output: string }} Running
 */

/** How long a gentle program may take to end. */
const graceMs = 3_000;

/** Its input: "+ pid" and "- pid". At the end of it, which comes with this process's, the rest is killed. */
const guardScript = `
pids=" "
while read -r sign pid; do
  pids=$(echo "$pids" | sed "s/ $pid / /")
  if [ "$sign" = + ]; then pids="$pids$pid "; fi
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
rm -rf "$1"
`;

/**
 * Waits for a condition.
 * @param {() => boolean | Promise<boolean>} condition one that throws is not met yet
 * @param {string} what for the error
 * @param {number} [patienceMs]
 */
export async function until(condition, what, patienceMs = 20_000) {
  const end = performance.now() + patienceMs;
  for (;;) {
    /** @type {unknown} */
    let reason;
    try {
      if (await condition()) return;
    } catch (error) {
      if (error instanceof ProgramEnded) throw error;
      reason = error;
    }
    if (performance.now() > end) throw new Error(`waited ${patienceMs} ms for ${what}`, { cause: reason });
    await pause(25);
  }
}

/** A program that ended by itself while it was waited for; the message has the end of its output. */
export class ProgramEnded extends Error {}

export class Processes {
  /** Where the programs keep their files; removed at the end. */
  dir = mkdtempSync(join(tmpdir(), "holdfast-cluster-"));
  /** @type {Map<string, Running>} */
  #running = new Map();
  #guard;
  #isEnding = false;

  /** @param {(name: string, state: State) => void} [onChange] told of each change, wanted or not */
  constructor(onChange = () => {}) {
    this.onChange = onChange;
    this.#guard = spawn("sh", ["-c", guardScript, "guard", this.dir], {
      stdio: ["pipe", "ignore", "ignore"],
      // Not in the terminal's group: Ctrl-C is for this process, which then ends the others.
      detached: true,
    });
    this.#guard.stdin.on("error", () => {});
  }

  /** A folder of its own for one program. @param {string} name */
  folder(name) {
    const path = join(this.dir, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  /**
   * Starts a program in a folder of its own. Wait for it to serve with `ready`.
   * @param {string} name
   * @param {Program} program
   */
  async start(name, program) {
    if (this.#isEnding) throw new Error("the cluster is ending");
    const child = spawn(program.command, program.args, {
      cwd: this.folder(name),
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...program.env },
      detached: true,
    });
    /** @type {Running} */
    const running = { ...program, child, state: "up", output: "" };
    this.#running.set(name, running);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        running.output = (running.output + chunk).slice(-4_000);
      });
    }
    child.once("exit", () => {
      this.#guard.stdin.write(`- ${child.pid}\n`);
      this.#change(name, running, "down");
    });
    await once(child, "spawn");
    this.#guard.stdin.write(`+ ${child.pid}\n`);
    this.onChange(name, "up");
  }

  /**
   * Waits until a program serves.
   * @param {string} name
   * @param {() => boolean | Promise<boolean>} condition
   * @throws {ProgramEnded} when it ends instead
   */
  async ready(name, condition) {
    await until(() => {
      const { state, output, command } = this.#get(name);
      if (state === "down") throw new ProgramEnded(`${name} (${command}) ended at its start:\n${output.trim()}`);
      return condition();
    }, `${name} to serve`);
  }

  /** @param {string} name */
  state(name) {
    return this.#running.get(name)?.state ?? "down";
  }

  /** The end of what a program printed. @param {string} name */
  output(name) {
    return this.#get(name).output;
  }

  /** SIGKILL, or SIGTERM. Resolves once it is gone. @param {string} name @param {NodeJS.Signals} [signal] */
  async kill(name, signal = "SIGKILL") {
    const { child } = this.#get(name);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  /** SIGSTOP: it hangs, its connections stay. @param {string} name */
  hang(name) {
    const running = this.#get(name);
    if (running.state !== "up") return;
    running.child.kill("SIGSTOP");
    this.#change(name, running, "hung");
  }

  /** SIGCONT after `hang`. @param {string} name */
  wake(name) {
    const running = this.#get(name);
    if (running.state !== "hung") return;
    running.child.kill("SIGCONT");
    this.#change(name, running, "up");
  }

  /** Wakes what hangs and starts what is down, as it was started before. @param {string} name */
  async revive(name) {
    const { state, command, args, env, isGentle } = this.#get(name);
    if (state === "hung") this.wake(name);
    if (state !== "down") return;
    await this.start(name, { command, args, ...(env && { env }), ...(isGentle && { isGentle }) });
  }

  /** Ends everything and removes the folder. Safe to call twice. */
  async stop() {
    this.#isEnding = true;
    const ends = [...this.#running.keys()].map(async (name) => {
      if (this.#get(name).isGentle && this.state(name) === "up") {
        const timer = setTimeout(() => this.kill(name), graceMs);
        await this.kill(name, "SIGTERM");
        clearTimeout(timer);
      }
      await this.kill(name);
    });
    await Promise.all(ends);
    if (this.#guard.exitCode !== null) return;
    const gone = once(this.#guard, "exit");
    this.#guard.stdin.end();
    await gone;
  }

  /** @param {string} name */
  #get(name) {
    const running = this.#running.get(name);
    if (running === undefined) throw new Error(`there is no ${name}`);
    return running;
  }

  /**
   * @param {string} name
   * @param {Running} running
   * @param {State} state
   */
  #change(name, running, state) {
    running.state = state;
    if (!this.#isEnding) this.onChange(name, state);
  }
}
