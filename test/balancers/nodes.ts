/**
 * Three app nodes for the tests of load balancers: `examples/cluster/node.mjs` as processes, one on Express, one on Koa,
 * one on Fastify, with one Redis behind them. What they answer is theirs; what it must be the tests say.
 */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtemp } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Program, startProgram } from "../support/program.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const script = fileURLToPath(new URL("../../examples/cluster/node.mjs", import.meta.url));

/** How the nodes are set up. */
export interface NodesPlan {
  /** TLS ends at the balancer: the cookie is `__Host-sid`. */
  secure?: boolean;
  /** Each node's name stands behind the cookie's value. */
  routes?: boolean;
  /** `NOTICE` of the nodes. */
  notice?: string;
}

/** One node. */
export class AppNode {
  readonly name: string;
  readonly port: number;
  readonly #env: Record<string, string>;
  #program: Program | undefined;

  constructor(name: string, port: number, env: Record<string, string>) {
    this.name = name;
    this.port = port;
    this.#env = { NODE: name, PORT: String(port), ...env };
  }

  get program(): Program {
    if (this.#program === undefined) throw new Error(`${this.name} does not run`);
    return this.#program;
  }

  /** Starts it, again where it has ended: same port, same name. */
  async start(): Promise<void> {
    await this.#program?.stop();
    this.#program = await startProgram({
      command: process.execPath,
      args: [script],
      env: this.#env,
      dir: await mkdtemp(join(tmpdir(), "holdfast-node-")),
      isReady: () =>
        fetch(`http://127.0.0.1:${this.port}/health`, { headers: { connection: "close" } }).then(
          ({ status }) => status === 200,
          () => false,
        ),
    });
  }

  async stop(): Promise<void> {
    await this.#program?.stop();
  }
}

/** Three nodes and their Redis. */
export interface Nodes {
  readonly all: readonly AppNode[];
  readonly ports: readonly number[];
  readonly redis: RedisServer;
  named(name: string): AppNode;
  stop(): Promise<void>;
}

/**
 * A free port that stays so while its node is restarted: below those that the system gives to outgoing connections.
 */
async function steadyPort(): Promise<number> {
  for (;;) {
    const port = randomInt(12_000, 30_000);
    const probe = createServer().listen(port, "127.0.0.1");
    const isFree = await once(probe, "listening").then(
      () => true,
      () => false,
    );
    probe.close();
    if (isFree) return port;
  }
}

/** Starts all three; they are n1, n2 and n3. */
export async function startNodes({ secure = false, routes = false, notice = "1s" }: NodesPlan = {}): Promise<Nodes> {
  const redis = await startRedis();
  const all: AppNode[] = [];
  for (const [index, framework] of ["express", "koa", "fastify"].entries()) {
    const name = `n${index + 1}`;
    const env = {
      FRAMEWORK: framework,
      REDIS_URL: redis.url,
      SESSION_SECRET: "the secret of the balancers' tests, long enough",
      SECURE_COOKIE: secure ? "1" : "0",
      ROUTE: routes ? name : "",
      NOTICE: notice,
      NODE_ENV: "test",
    };
    all.push(new AppNode(name, await steadyPort(), env));
  }
  const stop = async (): Promise<void> => {
    await Promise.all(all.map((node) => node.stop()));
    await redis.stop();
  };
  try {
    await Promise.all(all.map((node) => node.start()));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    all,
    ports: all.map(({ port }) => port),
    redis,
    named(name) {
      const found = all.find((node) => node.name === name);
      if (found === undefined) throw new Error(`there is no node ${name}`);
      return found;
    },
    stop,
  };
}

/** What a node answers. */
export interface NodeAnswer {
  node: string;
  framework: string;
  pid: number;
  data: Record<string, unknown>;
}
