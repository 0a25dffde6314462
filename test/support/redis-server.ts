/**
 * Real redis-server processes for tests: on a free loopback port, in a temporary folder, awaited by PING, and ended
 * with the test process even if that one is killed. Cluster and Sentinel are in `redis-topologies.ts`. No test logic.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** The commands that a server ran, as `redis-cli MONITOR` prints them. */
export interface Monitor {
  /** One line per command, oldest first; grows. A command run by a script has `lua]` in its line. */
  readonly lines: string[];
  /** Resolves when every command that the server ran before this call is in `lines`. */
  flush(): Promise<void>;
  /** Flushes, then stops collecting. */
  stop(): Promise<void>;
}

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
  /** Kills it when it still runs, and starts it again on the same port and folder. */
  restart(): Promise<void>;
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
  /** The server answers PING with this once it is ready. Sentinels need their own mode. Default `false`. */
  sentinel?: boolean;
}

const readyWithinMs = 10_000;

/** A port of the loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Waits until `check` holds, asking every few milliseconds. */
export async function until(
  check: () => boolean | Promise<boolean>,
  what: string,
  withinMs: number = readyWithinMs,
): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await check())) {
    if (performance.now() > end) throw new Error(`waited ${withinMs} ms in vain for: ${what}`);
    await delay(10);
  }
}

/** Sends one command in RESP on a new connection and resolves to the raw start of the answer. */
export async function rawCommand(port: number, args: string[]): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  try {
    socket.write(encodeCommand(args));
    return await new Promise<string>((resolve, reject) => {
      let text = "";
      socket.on("error", reject);
      socket.on("close", () => reject(new Error(`redis-server on ${port} closed the connection`)));
      socket.on("data", (chunk) => {
        text += chunk.toString("latin1");
        if (isComplete(text)) resolve(text.trimEnd());
      });
    });
  } finally {
    socket.destroy();
  }
}

function encodeCommand(args: string[]): string {
  return `*${args.length}\r\n${args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`).join("")}`;
}

/** Good enough for status, integer, error and bulk replies, and the first packet of an array. */
function isComplete(text: string): boolean {
  const head = text.indexOf("\r\n");
  if (head < 0) return false;
  if (text[0] !== "$" || text.startsWith("$-1")) return true;
  return text.length >= head + 2 + Number(text.slice(1, head)) + 2;
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

  async start(): Promise<void> {
    const child = spawn("redis-server", this.args, { cwd: this.dir, stdio: ["ignore", "pipe", "pipe"] });
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

  async restart(): Promise<void> {
    await this.kill();
    await this.start();
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

const marker = "holdfast-test-monitor-mark";

async function startMonitor(port: number): Promise<Monitor> {
  const socket = connect(port, "127.0.0.1");
  socket.setEncoding("utf8");
  const lines: string[] = [];
  let marks = 0;
  let rest = "";
  let started = false;
  socket.on("error", () => {});
  socket.on("data", (chunk: string) => {
    const parts = (rest + chunk).split("\r\n");
    rest = parts.pop() ?? "";
    for (const line of parts) {
      if (line === "+OK") started = true;
      else if (line.includes(marker)) marks += 1;
      else lines.push(line.replace(/^\+/, ""));
    }
  });
  socket.write("MONITOR\r\n");
  await until(() => started, "MONITOR to start");
  const flush = async (): Promise<void> => {
    const before = marks;
    await rawCommand(port, ["ECHO", marker]);
    await until(() => marks > before, "MONITOR to catch up");
  };
  return {
    lines,
    flush,
    async stop() {
      await flush();
      socket.destroy();
    },
  };
}

/** Starts a redis-server and resolves once it answers PING. End it with `stop()`. */
export async function startRedis(options: StartOptions = {}): Promise<RedisServer> {
  const port = options.port ?? (await freePort());
  const dir = await mkdtemp(join(tmpdir(), "holdfast-redis-"));
  const persistence = options.appendonly ? ["--appendonly", "yes", "--appendfsync", "always"] : ["--appendonly", "no"];
  const args = options.sentinel
    ? [...(options.args ?? []), "--sentinel"]
    : ["--port", String(port), "--bind", "127.0.0.1", "--save", "", ...persistence, ...(options.args ?? [])];
  const server = new Server(port, dir, args);
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}
