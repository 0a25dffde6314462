/**
 * Real redis-server processes for tests: on a free loopback port, in a temporary folder, awaited by PING, and ended
 * with the test process even if that one is killed. Cluster and Sentinel are in `redis-topologies.ts`. No test logic.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../examples/cluster/free-port.mjs";
import { type Monitor, rawCommand, startMonitor, until } from "./redis-wire.ts";

export { type Monitor, rawCommand, until } from "./redis-wire.ts";

/** A running redis-server. */
export interface RedisServer {
  readonly port: number;
  /** `redis://127.0.0.1:<port>` */
  readonly url: string;
  /** The server's working folder; removed by `stop()`. */
  readonly dir: string;
  readonly pid: number;
  /** Ends the server and removes its folder. Safe to call twice, and after `kill()`. */
  stop(): Promise<void>;
  /** SIGKILL; the folder stays, for `restart()`. */
  kill(): Promise<void>;
  /** Kills it when it still runs, and starts it again on the same port and folder; `args` are for this start alone. */
  restart(args?: string[]): Promise<void>;
  /** SIGSTOP: the process hangs and its connections stay open. */
  pause(): void;
  /** SIGCONT after `pause()`. */
  resume(): void;
  /** Runs one command on a connection of its own: `command("CONFIG", "SET", "maxmemory", "1mb")`; the raw reply. */
  command(...args: string[]): Promise<string>;
  monitor(): Promise<Monitor>;
}

/** What `startRedis` takes. */
export interface StartOptions {
  /** More arguments: `["--maxmemory", "2mb"]`. */
  args?: string[];
  /** Keeps data over `kill()` and `restart()` (every write is synced). Default `false`. */
  appendonly?: boolean;
  /** Default: a free one. */
  port?: number;
  /** A whole redis.conf in place of the usual arguments; `args` still follow it. For Sentinel. */
  config?: (port: number) => string;
}

async function answersPing(port: number): Promise<boolean> {
  return rawCommand(port, ["PING"]).then(
    (answer) => answer === "+PONG",
    () => false,
  );
}

/**
 * Kills the server and removes its folder once this process is gone, however it went: the shell reads from a pipe
 * that only this process holds open.
 */
function guard(pid: number, dir: string): ChildProcess {
  const shell = spawn("sh", ["-c", 'read -r _; kill -9 "$0" 2>/dev/null; rm -rf "$1"', String(pid), dir], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  shell.unref();
  // The pipe alone must not keep the test process alive. (A child's stdin is a net.Socket.)
  (shell.stdin as Socket | null)?.unref();
  return shell;
}

class Server implements RedisServer {
  readonly url: string;
  #child: ChildProcess | undefined;
  #guard: ChildProcess | undefined;

  constructor(
    readonly port: number,
    readonly dir: string,
    readonly args: string[],
  ) {
    this.url = `redis://127.0.0.1:${port}`;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error("the server does not run");
    return pid;
  }

  async start(args: string[] = []): Promise<void> {
    const child = spawn("redis-server", [...this.args, ...args], { cwd: this.dir, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout?.on("data", (chunk) => {
      output = (output + chunk).slice(-4_000);
    });
    child.stderr?.on("data", (chunk) => {
      output = (output + chunk).slice(-4_000);
    });
    await once(child, "spawn");
    this.#child = child;
    this.#guard = guard(this.pid, this.dir);
    child.unref();
    (child.stdout as Socket | null)?.unref();
    (child.stderr as Socket | null)?.unref();
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`redis-server on ${this.port} ended at once:\n${output}`);
      return answersPing(this.port);
    }, `redis-server on ${this.port} to answer PING`);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    this.#guard?.kill("SIGKILL");
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.ref();
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  async restart(args: string[] = []): Promise<void> {
    await this.kill();
    await this.start(args);
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.dir, { recursive: true, force: true });
  }

  pause(): void {
    process.kill(this.pid, "SIGSTOP");
  }

  resume(): void {
    process.kill(this.pid, "SIGCONT");
  }

  command(...args: string[]): Promise<string> {
    return rawCommand(this.port, args);
  }

  monitor(): Promise<Monitor> {
    return startMonitor(this.port);
  }
}

/** Starts a redis-server and resolves once it answers PING. End it with `stop()`. */
export async function startRedis(options: StartOptions = {}): Promise<RedisServer> {
  const port = options.port ?? (await freePort());
  const dir = await mkdtemp(join(tmpdir(), "holdfast-redis-"));
  const persistence = options.appendonly ? ["--appendonly", "yes", "--appendfsync", "always"] : ["--appendonly", "no"];
  const usual = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", ...persistence];
  if (options.config !== undefined) await writeFile(join(dir, "redis.conf"), options.config(port));
  const args = [...(options.config === undefined ? usual : ["redis.conf"]), ...(options.args ?? [])];
  const server = new Server(port, dir, args);
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    // Another server may have taken the port since it was looked at.
    const isTaken = options.port === undefined && String(error).includes("Address already in use");
    if (isTaken) return startRedis({ ...options, port: await freePort() });
    throw error;
  }
  return server;
}
