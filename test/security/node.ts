/** Starts `node.mjs`: three frameworks in a process of their own. For the tests of floods and leaks. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { ensureBuilt } from "../../.ci/build.mjs";
import { noteOutput } from "../support/raw-ids.ts";

/** The process. */
export interface SecurityNode {
  /** `http://127.0.0.1:<port>` of Express, Koa and Fastify. */
  urls: string[];
  /** What it has written to its standard output and error so far. */
  output(): string;
  /** Bytes in use, after a garbage collection. */
  memory(): Promise<{ heap: number; rss: number }>;
  /** Ends it; resolves once its output is complete. */
  stop(): Promise<void>;
}

/** The key that its cookies are signed with. */
export const signingKey = "the key of one node of the security tests";

/** `env`: on top of this process's own. */
export async function startNode(redisUrl: string, env: Record<string, string> = {}): Promise<SecurityNode> {
  ensureBuilt();
  const child: ChildProcess = fork(new URL("node.mjs", import.meta.url), {
    env: { ...process.env, NODE_ENV: "production", REDIS_URL: redisUrl, SESSION_SECRET: signingKey, ...env },
    // A collector whose work is done when it returns, and a nursery that does not grow: else RSS says nothing.
    execArgv: ["--expose-gc", "--single-threaded-gc", "--max-semi-space-size=4"],
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let output = "";
  const take = (chunk: unknown): void => {
    output += String(chunk);
    noteOutput(chunk);
  };
  child.stdout?.on("data", take);
  child.stderr?.on("data", take);
  const answerOf = async <T>(): Promise<T> => {
    const ended = once(child, "exit").then(() => Promise.reject(new Error(`the node ended:\n${output}`)));
    const [message] = await Promise.race([once(child, "message"), ended]);
    return message as T; // what node.mjs sends
  };
  const { ports } = await answerOf<{ ports: number[] }>();
  return {
    urls: ports.map((port) => `http://127.0.0.1:${port}`),
    output: () => output,
    memory: async () => {
      const answer = answerOf<{ heap: number; rss: number }>();
      child.send("memory");
      return answer;
    },
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const closed = once(child, "close");
      child.kill();
      await closed;
    },
  };
}
