// @ts-check
/**
 * The machine: who runs on which core, the redis-server of a run, the server processes under test, and the line that
 * says all that. It measures nothing itself. Called by `run.mjs`.
 */
import { execFileSync, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { freePort } from "../../examples/cluster/free-port.mjs";

/**
 * Where processes may run. With `taskset` and two cores or more the server under test has one to itself, and Redis and
 * the load share the others; otherwise the kernel decides, and the figures are noisier.
 *
 * @typedef {{ server: string[], others: string[], said: string }} Pinning command prefixes and a sentence about them
 */

/**
 * Pins this process, the load, at once.
 *
 * @returns {Pinning}
 */
export function pin() {
  const cores = allowedCores();
  const [first, ...rest] = cores;
  if (first === undefined || rest.length === 0) {
    return { server: [], others: [], said: "not pinned: one core, or taskset is missing" };
  }
  const others = rest.join(",");
  execFileSync("taskset", ["-acp", others, String(process.pid)], { stdio: "ignore" });
  return {
    server: ["taskset", "-c", String(first)],
    others: ["taskset", "-c", others],
    said: `server under test alone on core ${first}, load and Redis on core ${others} (taskset)`,
  };
}

/** The cores that this process may use; none when that can't be told or changed. */
function allowedCores() {
  try {
    const text = execFileSync("taskset", ["-cp", String(process.pid)], { encoding: "utf8" });
    return (text.split(":").pop() ?? "").split(",").flatMap((range) => {
      const [from = 0, to = from] = range.split("-").map(Number);
      return Array.from({ length: to - from + 1 }, (_, index) => from + index);
    });
  } catch {
    return [];
  }
}

/**
 * A redis-server of the run's own: on a free loopback port, without persistence, in a temporary folder.
 *
 * @param {Pinning} pinning
 * @param {string[]} [settings] more of its arguments
 * @param {number} [tries] how often a port may be taken by somebody else meanwhile (a Cluster's node takes a second one)
 * @returns {Promise<{ url: string, client: Redis, stop(): Promise<void> }>}
 */
export async function startRedis(pinning, settings = [], tries = 5) {
  const port = await freePort();
  const dir = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
  const [command = "", ...args] = [
    ...pinning.others,
    ...["redis-server", "--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", ...settings],
  ];
  const child = spawn(command, args, { cwd: dir, stdio: "ignore" });
  const failed = once(child, "exit").then(() => Promise.reject(new Error(`${command} ended: is redis-server there?`)));
  failed.catch(() => {});
  const client = new Redis(port, "127.0.0.1", { retryStrategy: () => 50, maxRetriesPerRequest: null });
  client.on("error", () => {});
  try {
    // `once` rejects where the program is not there.
    await Promise.race([client.ping(), failed]);
  } catch (error) {
    client.disconnect();
    rmSync(dir, { recursive: true, force: true });
    if (child.pid === undefined || tries <= 1) throw error;
    return startRedis(pinning, settings, tries - 1);
  }
  // Whatever ends this process, its Redis goes first. (The servers under test go when their channel closes.)
  const clean = () => {
    child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  };
  process.once("exit", clean);
  process.once("SIGINT", () => process.exit(130));
  process.once("SIGTERM", () => process.exit(143));
  return {
    url: `redis://127.0.0.1:${port}`,
    client,
    async stop() {
      client.disconnect();
      child.kill("SIGTERM");
      await failed.catch(() => {});
      clean();
    },
  };
}

/**
 * CPU time that Redis has used, in microseconds.
 *
 * @param {Redis} client
 */
export async function redisCpuUs(client) {
  const text = await client.info("cpu");
  const seconds = (/** @type {string} */ field) => Number(new RegExp(`^${field}:(.*)$`, "m").exec(text)?.[1] ?? 0);
  return (seconds("used_cpu_sys") + seconds("used_cpu_user")) * 1e6;
}

/**
 * Collects the commands that clients send to Redis, by name, until `stop()`. It slows Redis down: never while
 * something is timed. PING and INFO, with which clients look after their connections, belong to no request. MONITOR, as `INFO commandstats` counts what scripts run inside as calls too; MONITOR marks it.
 *
 * node-redis's, as ioredis's takes a command that arrives together with MONITOR's own answer for an error.
 *
 * @param {Redis} client
 * @returns {Promise<() => Promise<Map<string, number>>>}
 */
export async function countCommands(client) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  const mark = `bench-mark-${performance.now()}`;
  const monitor = createClient({ url: `redis://127.0.0.1:${client.options.port}` });
  await monitor.connect();
  /** @type {() => void} */
  let end = () => {};
  const marked = new Promise((resolve) => {
    end = () => resolve(undefined);
  });
  await monitor.monitor((line) => {
    // 1795249193.621445 [0 127.0.0.1:38014] "get" "key"; inside a script [0 lua].
    const [, source, name = ""] = /^\S+ \[\d+ ([^\]]+)\] "([^"]*)"/.exec(String(line)) ?? [];
    if (String(line).includes(mark)) end();
    // A near cache looks after its connections once a second, whatever is asked; that is no request's.
    else if (/^(ping|info)$/i.test(name)) return;
    else if (source !== "lua") counts.set(name.toLowerCase(), (counts.get(name.toLowerCase()) ?? 0) + 1);
  });
  return async () => {
    await client.echo(mark);
    await marked;
    monitor.destroy();
    return counts;
  };
}

/**
 * A server under test, in a process of its own.
 *
 * @typedef {{ port: number, cpuUs(): Promise<number>, stop(): Promise<void> }} Target
 */

/**
 * @param {Pinning} pinning
 * @param {{ framework: string, variant: string, redisUrl: string, profileDir: string | undefined }} options
 * @returns {Promise<Target>}
 */
export async function startTarget(pinning, { framework, variant, redisUrl, profileDir }) {
  const file = fileURLToPath(new URL(`./servers/${framework}.mjs`, import.meta.url));
  const profile =
    profileDir === undefined
      ? []
      : ["--cpu-prof", `--cpu-prof-dir=${profileDir}`, `--cpu-prof-name=${framework}-${variant}.cpuprofile`];
  const [execPath = process.execPath, ...execArgv] = [...pinning.server, process.execPath, ...profile];
  const child = fork(file, [variant, redisUrl], {
    execPath,
    execArgv,
    env: { ...process.env, NODE_ENV: "production" },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const gone = once(child, "exit").then(([code]) =>
    Promise.reject(new Error(`${framework} ${variant} ended (${code})`)),
  );
  gone.catch(() => {});
  /** @returns {Promise<any>} the next message */
  const answer = () => Promise.race([once(child, "message").then(([message]) => message), gone]);
  const { port } = await answer();
  return {
    port,
    async cpuUs() {
      child.send("cpu");
      const { cpu } = await answer();
      return cpu.user + cpu.system;
    },
    async stop() {
      if (child.connected) child.disconnect();
      const killer = delay(5_000, undefined, { ref: false }).then(() => child.kill("SIGKILL"));
      await Promise.race([gone.catch(() => {}), killer]);
    },
  };
}

/**
 * What the figures were measured on, one line each.
 *
 * @param {Redis} client
 * @param {Pinning} pinning
 */
export async function describeMachine(client, pinning) {
  const server = /^redis_version:(\S+)/m.exec(await client.info("server"))?.[1] ?? "?";
  const [cpu] = cpus();
  const packages = ["express", "express-session", "koa", "koa-session", "fastify", "@fastify/session", "connect-redis"];
  const versions = [...packages, "redis", "ioredis"].map((name) => `${name} ${versionOf(name)}`);
  return {
    machine: `${cpus().length} cores (${cpu?.model.trim() ?? "?"}), ${(totalmem() / 2 ** 30).toFixed(1)} GiB, load ${loadavg()[0]?.toFixed(1)} at the start; Node ${process.versions.node}, Redis ${server}`,
    cores: pinning.said,
    versions: versions.join(", "),
  };
}

/** @param {string} name */
function versionOf(name) {
  return JSON.parse(readFileSync(new URL(`../../node_modules/${name}/package.json`, import.meta.url), "utf8")).version;
}
