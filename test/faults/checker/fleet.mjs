// @ts-check
/**
 * The checker's servers: one Redis that syncs every write to disk, a proxy that can misbehave for each app, and the
 * app processes. Nothing outlives this process. Called by `run.mjs`; plain Node, so that a soak needs no test runner.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Redis } from "ioredis";
import { freePort } from "../../../examples/cluster/free-port.mjs";

/**
 * @typedef {Awaited<ReturnType<typeof startFleet>>} Fleet
 * @typedef {Awaited<ReturnType<typeof startRedis>>} RedisProcess
 * @typedef {Awaited<ReturnType<typeof startProxy>>} Proxy
 */

/** How long an app may take to end when it is told to; `sessions.close()` alone may take ten seconds. */
const endMs = 15_000;

/** @param {import("node:net").Server} server */
async function listening(server, port = 0) {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

async function startRedis() {
  const port = await freePort();
  const dir = mkdtempSync(join(tmpdir(), "holdfast-checker-"));
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"];
  /** @type {import("node:child_process").ChildProcess} */
  let child;
  const run = () => {
    child = spawn("redis-server", [...args, "--appendfsync", "always"], { cwd: dir, stdio: "ignore" });
  };
  run();
  const onExit = () => child.kill("SIGKILL");
  process.once("exit", onExit);
  const direct = new Redis({ port, host: "127.0.0.1", retryStrategy: () => 50, maxRetriesPerRequest: null });
  direct.on("error", () => {});
  await direct.ping();
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    /** A connection past the proxies. */
    direct,
    pause: () => child.kill("SIGSTOP"),
    resume: () => child.kill("SIGCONT"),
    restart: async (/** @type {number} */ downMs) => {
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
      await new Promise((resolve) => setTimeout(resolve, downMs));
      run();
    },
    stop: async () => {
      direct.disconnect();
      process.off("exit", onExit);
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** @param {number} target */
async function startProxy(target) {
  /** @type {Set<import("node:net").Socket>} */
  const sockets = new Set();
  const proxy = { port: 0, delayMs: 0, isMute: false, reset, stop };
  /** @type {(from: import("node:net").Socket, to: import("node:net").Socket, isAnswer: boolean) => void} */
  const forward = (from, to, isAnswer) => {
    // One after the other, whatever the timers do: a chunk that overtakes another puts the connection out of step.
    let tail = Promise.resolve();
    let waiting = 0;
    from.on("data", (chunk) => {
      if (isAnswer && proxy.isMute) return;
      if (waiting === 0 && proxy.delayMs === 0) {
        to.write(chunk);
        return;
      }
      const due = performance.now() + proxy.delayMs;
      waiting++;
      tail = tail.then(async () => {
        await pause(Math.max(0, due - performance.now()));
        waiting--;
        if (!to.destroyed) to.write(chunk);
      });
    });
  };
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    forward(client, upstream, false);
    forward(upstream, client, true);
  });
  /** Cuts every connection. */
  function reset() {
    for (const socket of sockets) {
      socket.resetAndDestroy();
      // The line above alone waits for what is still to be written, for ever where the other end is gone.
      socket.destroy();
    }
  }
  async function stop() {
    server.close();
    reset();
  }
  proxy.port = await listening(server);
  return proxy;
}

/**
 * @param {{ framework: string, url: string, direct?: string, bug?: string | undefined }} settings
 * @param {string[]} [flags] of Node
 */
export async function startApp(settings, flags = []) {
  const app = join(import.meta.dirname, "app.mjs");
  const child = spawn(process.execPath, [...flags, app, JSON.stringify(settings)], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, NODE_ENV: "test" },
  });
  const ended = once(child, "exit");
  const [line] = await Promise.race([
    once(child.stdout, "data"),
    ended.then(() => Promise.reject(new Error(`the ${settings.framework} app ended at its start`))),
  ]);
  const state = { isStopping: false };
  return {
    framework: settings.framework,
    port: Number(/port (\d+)/.exec(String(line))?.[1]),
    /** Whether the process went away by itself. */
    hasDied: () => child.exitCode !== null && !state.isStopping,
    /** Has it close server and sessions. @returns {Promise<number | undefined>} ms until it ended by itself */
    end: async () => {
      state.isStopping = true;
      const from = performance.now();
      child.kill("SIGTERM");
      const late = new AbortController();
      const [code] = await Promise.race([ended, pause(endMs, [undefined], { signal: late.signal })]);
      late.abort();
      return code === 0 ? Math.round(performance.now() - from) : undefined;
    },
    stop: async () => {
      state.isStopping = true;
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/**
 * @param {{ bug?: string | undefined, frameworks?: readonly string[], watches?: boolean }} options
 */
export async function startFleet({ bug, frameworks = ["express", "koa", "fastify"], watches = false }) {
  const redis = await startRedis();
  const proxies = await Promise.all(frameworks.map(() => startProxy(redis.port)));
  const apps = await Promise.all(
    frameworks.map((framework, index) =>
      startApp(
        { framework, url: `redis://127.0.0.1:${proxies[index]?.port}`, direct: redis.url, bug },
        watches ? ["--expose-gc"] : [],
      ),
    ),
  );
  return {
    redis,
    proxies,
    apps,
    async stop() {
      await Promise.all(apps.map((app) => app.stop()));
      await Promise.all(proxies.map((proxy) => proxy.stop()));
      await redis.stop();
    },
  };
}
