/**
 * Two processes whose sessions are one Redis's (or Cluster's), told what to do by messages: for races between logins,
 * revocations and limits. The program is test/races/principals-node.mjs.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { ensureBuilt } from "../../.ci/build.mjs";

/** What a node answered. Times are epoch ms by Redis's clock, as that node knows it. */
export interface NodeAnswer {
  began: number;
  ended: number;
  /** The code of what it threw. */
  error?: string;
  /** The cookie that the client has now; absent: none. */
  cookie?: string;
  id?: string;
  result?: unknown;
  ids?: string[];
}

/** What a node is told. */
export interface NodeOrder {
  op: "login" | "renew" | "write" | "whose" | "logout" | "list" | "destroy" | "destroyAll" | "standing" | "go";
  user?: string;
  cookie?: string | undefined;
  id?: string | undefined;
  /** The step of a login or renewal before which it stands until `go`; `standing` tells how many do. */
  standsBefore?: "enter" | "write" | "confirm";
}

/** One process. */
export interface PrincipalNode {
  tell(order: NodeOrder): Promise<NodeAnswer>;
  stop(): Promise<void>;
}

const program = fileURLToPath(new URL("../races/principals-node.mjs", import.meta.url));

/** Starts a node; it answers when this resolves. `redis`: a URL, or the ports of a Cluster. */
export async function startPrincipalNode(redis: string, settings: object): Promise<PrincipalNode> {
  ensureBuilt();
  const child: ChildProcess = fork(program, {
    env: { PATH: process.env.PATH, REDIS_URL: redis, SETTINGS: JSON.stringify(settings) },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  let calls = 0;
  const waiting = new Map<number, (answer: NodeAnswer) => void>();
  const ready = new Promise<NodeAnswer>((resolve) => waiting.set(0, resolve));
  child.on("message", (answer: NodeAnswer & { call: number }) => {
    waiting.get(answer.call)?.(answer);
    waiting.delete(answer.call);
  });
  await Promise.race([
    ready,
    once(child, "exit").then(([code]) => Promise.reject(new Error(`a node ended with ${code}`))),
  ]);
  return {
    tell: (order) =>
      new Promise((resolve) => {
        calls++;
        waiting.set(calls, resolve);
        child.send({ ...order, call: calls });
      }),
    stop: async () => {
      if (child.exitCode !== null) return;
      const ended = once(child, "exit");
      child.disconnect();
      await ended;
    },
  };
}
