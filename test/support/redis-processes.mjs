// @ts-check
/**
 * Redis and Sentinel processes that tests kill, hang, cut off and revive. Plain Node, so that long runs need no test
 * runner; `redis-server.ts` is the one for tests with a single server. Each ends with this process, however that goes.
 * Called by `redis-nodes.mjs`, `redis-sentinels.mjs` and `redis-cluster.mjs`.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Redis } from "ioredis";

/**
 * Listens on a free port of the loopback, and resolves to it.
 * @param {import("node:net").Server} server
 */
export async function listenOn(server) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/**
 * Waits until `check` holds; a `check` that throws does not hold yet.
 * @param {() => unknown} check
 * @param {string} what
 */
export async function waitFor(check, what, withinMs = 60_000) {
  const end = performance.now() + withinMs;
  for (;;) {
    try {
      if (await check()) return;
    } catch (error) {
      if (performance.now() > end) throw new Error(`waited ${withinMs} ms in vain for: ${what}`, { cause: error });
    }
    if (performance.now() > end) throw new Error(`waited ${withinMs} ms in vain for: ${what}`);
    await pause(20);
  }
}

/** One process, with a configuration file that it may rewrite, as Sentinel makes it do. */
export class RedisProcess {
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #child;
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #guard;
  #isPaused = false;
  #dir = mkdtempSync(join(tmpdir(), "holdfast-fleet-"));

  /**
   * @param {number} port
   * @param {readonly string[]} config lines of its configuration file
   * @param {readonly string[]} [args] of the command line: `--sentinel`
   */
  constructor(port, config, args = []) {
    this.port = port;
    this.args = args;
    writeFileSync(join(this.#dir, "redis.conf"), [`port ${port}`, "bind 127.0.0.1", ...config, ""].join("\n"));
  }

  /** Whether it is there and does not hang. */
  get isUp() {
    return this.#child !== undefined && !this.#isPaused;
  }

  async start() {
    if (this.#child !== undefined) throw new Error(`the server on ${this.port} runs already`);
    const child = spawn("redis-server", ["redis.conf", ...this.args], { cwd: this.#dir, stdio: "ignore" });
    await once(child, "spawn");
    this.#child = child;
    // The shell reads from a pipe that only this process holds open; once it is gone, so is the server.
    const script = 'read -r _; kill -9 "$0" 2>/dev/null; rm -rf "$1"';
    const guard = spawn("sh", ["-c", script, String(child.pid), this.#dir], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    });
    this.#guard = guard;
    for (const each of [child, guard]) each.unref();
    /** @type {import("node:net").Socket | null} */ (guard.stdin)?.unref();
    await waitFor(async () => (await this.command("PING")) === "PONG", `the server on ${this.port} to answer`);
  }

  /** SIGKILL; its data stay. Does nothing where it is gone already. */
  async kill() {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    this.#isPaused = false;
    this.#guard?.kill("SIGKILL");
    child.ref();
    const ended = child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined;
    child.kill("SIGKILL");
    await ended;
  }

  /** SIGSTOP: it hangs, its connections stay open. */
  pause() {
    this.#isPaused = true;
    this.#child?.kill("SIGSTOP");
  }

  /** SIGCONT after `pause()`. */
  resume() {
    this.#child?.kill("SIGCONT");
    this.#isPaused = false;
  }

  async stop() {
    await this.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /**
   * One command on a connection of its own; rejects after a second.
   * @param {string} name
   * @param {...(string | number)} args
   * @returns {Promise<unknown>}
   */
  async command(name, ...args) {
    const client = new Redis({
      port: this.port,
      host: "127.0.0.1",
      retryStrategy: () => null,
      enableReadyCheck: false,
      connectTimeout: 1_000,
      commandTimeout: 1_000,
      protocol: 2,
    });
    client.on("error", () => {});
    try {
      return await client.call(name, ...args);
    } finally {
      client.disconnect();
    }
  }
}
