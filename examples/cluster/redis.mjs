// @ts-check
/**
 * What the Redis topologies share: one redis-server as a process of the cluster, and a question to one server. Nothing
 * here knows Sentinel or Cluster: see `sentinel.mjs`. Called by it and by `npm run chaos`.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";

/**
 * Asks one server one thing, on a connection of its own.
 * @param {number} port
 * @param {string} command
 * @param {...string} args
 * @returns {Promise<unknown>} rejects soon where the server is down or hangs
 */
export async function ask(port, command, ...args) {
  const redis = new Redis({
    port,
    host: "127.0.0.1",
    lazyConnect: true,
    enableReadyCheck: false,
    protocol: 2,
    retryStrategy: null,
    connectTimeout: 500,
    commandTimeout: 500,
    disconnectTimeout: 0,
  });
  redis.on("error", () => {});
  try {
    await redis.connect();
    return await redis.call(command, ...args);
  } finally {
    redis.disconnect();
  }
}

/**
 * The fields of one section of INFO.
 * @param {number} port
 * @param {string} section
 * @returns {Promise<Record<string, string>>}
 */
export async function info(port, section) {
  const text = String(await ask(port, "INFO", section));
  return Object.fromEntries(
    text
      .split("\r\n")
      .filter((line) => line.includes(":"))
      .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]),
  );
}

/**
 * Starts a redis-server that keeps every acknowledged write over a SIGKILL: each is in the system's hands before its
 * answer leaves. (`appendfsync no` because `everysec` may hold a write back while it syncs.)
 * @param {import("./processes.mjs").Processes} processes
 * @param {{ name: string, port: number, config?: string[] }} server
 */
export async function startRedis(processes, { name, port, config = [] }) {
  const file = join(processes.folder(name), "redis.conf");
  const lines = [
    `port ${port}`,
    "bind 127.0.0.1",
    'save ""',
    "appendonly yes",
    "appendfsync no",
    "repl-diskless-sync yes",
    "repl-diskless-sync-delay 0",
    ...config,
  ];
  writeFileSync(file, `${lines.join("\n")}\n`);
  await processes.start(name, { command: "redis-server", args: [file] });
  await processes.ready(name, async () => (await ask(port, "PING")) === "PONG");
}
