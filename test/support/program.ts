/**
 * A real program as a process of its own for tests: in a temporary folder, awaited by a condition, and killed with the
 * test process however that ends. Used for the load balancers and the nodes behind them. No test logic.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { delimiter } from "node:path";
import { noteOutput } from "./raw-ids.ts";
import { until } from "./redis-wire.ts";

/** What to run. */
export interface ProgramPlan {
  command: string;
  args: readonly string[];
  /** Beside this process's own. */
  env?: Record<string, string>;
  /** Its working folder; removed by `stop()`. */
  dir: string;
  /** Whether it is ready. */
  isReady(): Promise<boolean>;
}

/** A program that runs. */
export interface Program {
  readonly pid: number;
  /** What it has printed so far, the last 8 KB. */
  readonly output: string;
  /** Whether it has ended. */
  readonly hasEnded: boolean;
  /** Sends SIGTERM; resolves with its exit code (`null`: a signal ended it) once it has ended. */
  terminate(): Promise<number | null>;
  /** SIGKILL; resolves once it is gone. The folder stays. */
  kill(): Promise<void>;
  /** SIGKILL, and the folder goes. Safe to call twice. */
  stop(): Promise<void>;
}

/** Starts a program and resolves once it is ready. */
export async function startProgram(plan: ProgramPlan): Promise<Program> {
  // Debian keeps servers in a folder that is not on every user's PATH.
  const env = { ...process.env, PATH: [process.env.PATH, "/usr/sbin"].join(delimiter), ...plan.env };
  const child = spawn(plan.command, plan.args, { cwd: plan.dir, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output = (output + chunk).slice(-8_000);
      noteOutput(chunk);
    });
  }
  const ended = once(child, "exit");
  await once(child, "spawn");
  const watchdog = guard(Number(child.pid), plan.dir);
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  const kill = async () => {
    watchdog.kill("SIGKILL");
    if (!hasEnded()) child.kill("SIGKILL");
    await ended;
  };
  const program: Program = {
    pid: Number(child.pid),
    get output() {
      return output;
    },
    get hasEnded() {
      return hasEnded();
    },
    async terminate() {
      child.kill("SIGTERM");
      await ended;
      watchdog.kill("SIGKILL");
      return child.exitCode;
    },
    kill,
    async stop() {
      await kill();
      await rm(plan.dir, { recursive: true, force: true });
    },
  };
  try {
    await until(async () => {
      if (hasEnded()) throw new Error(`${plan.command} ended at once:\n${output}`);
      return plan.isReady();
    }, `${plan.command} to be ready`);
  } catch (error) {
    await program.stop();
    throw error;
  }
  return program;
}

/** Kills the program and removes its folder once this process is gone: the shell reads from a pipe that only we hold. */
function guard(pid: number, dir: string): ChildProcess {
  return spawn("sh", ["-c", 'read -r _; kill -9 "$0" 2>/dev/null; rm -rf "$1"', String(pid), dir], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
}
