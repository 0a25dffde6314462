/**
 * A real HAProxy on one of the configurations that `examples/cluster/` ships, its addresses from the environment as a
 * user would set them. No test logic.
 */
import { execFile } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { freePort } from "../../examples/cluster/free-port.mjs";
import { type Program, startProgram } from "./program.ts";
import { until } from "./redis-server.ts";

const configurations = fileURLToPath(new URL("../../examples/cluster/", import.meta.url));

/** A running balancer. */
export interface Balancer {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly program: Program;
}

/** A running HAProxy. */
export interface HAProxy extends Balancer {
  /** How it sees each node: `UP`, `NOLB` (draining), `DOWN`, with the progress of a change behind it, as in `DOWN 1/2`. */
  states(): Promise<Record<string, string>>;
  /** Resolves once it sees that node so. */
  sees(node: string, state: RegExp): Promise<void>;
}

/** What a user would set. */
export interface HAProxyPlan {
  /** A file of `examples/cluster/`. */
  config: string;
  /** The nodes' ports, n1 first. */
  ports: readonly number[];
  /** More of the environment: `COOKIE`. */
  env?: Record<string, string>;
  /** Default: 100ms. */
  checkInterval?: string;
}

/** Starts HAProxy; resolves once it accepts connections and sees all nodes up. */
export async function startHAProxy({ config, ports, env, checkInterval = "100ms" }: HAProxyPlan): Promise<HAProxy> {
  const dir = await mkdtemp(join(tmpdir(), "holdfast-haproxy-"));
  const port = await freePort();
  const socket = join(dir, "admin.sock");
  const nodes = Object.fromEntries(ports.map((node, index) => [`N${index + 1}`, `127.0.0.1:${node}`]));
  const states = async (): Promise<Record<string, string>> => {
    const lines = (await command(socket, "show stat")).split("\n").map((line) => line.split(","));
    const column = lines[0]?.indexOf("status") ?? -1;
    const servers = lines.filter(([proxy, name]) => proxy === "nodes" && name !== "BACKEND");
    return Object.fromEntries(servers.map((fields) => [fields[1] ?? "", fields[column] ?? ""]));
  };
  const program = await startProgram({
    command: "haproxy",
    args: ["-db", "-f", join(configurations, config)],
    env: { BIND: `127.0.0.1:${port}`, ADMIN_SOCKET: socket, CHECK_INTERVAL: checkInterval, ...nodes, ...env },
    dir,
    isReady: () =>
      states().then(
        (seen) => Object.values(seen).length === ports.length && Object.values(seen).every((state) => state === "UP"),
        () => false,
      ),
  });
  return {
    url: `http://127.0.0.1:${port}`,
    program,
    states,
    sees: (node, state) =>
      until(async () => state.test((await states())[node] ?? ""), `HAProxy to see ${node} as ${state}`),
  };
}

/** What `haproxy -c` says of a shipped configuration, with its defaults; rejects where it is not valid. */
export async function checkHAProxy(...configs: string[]): Promise<string> {
  const env = { ...process.env, PATH: [process.env.PATH, "/usr/sbin"].join(delimiter) };
  const files = configs.flatMap((config) => ["-f", join(configurations, config)]);
  const { stdout, stderr } = await promisify(execFile)("haproxy", ["-c", ...files], { env });
  return stdout + stderr;
}

/** One command on the admin socket. */
function command(socket: string, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const connection = connect(socket, () => connection.write(`${line}\n`));
    connection.on("data", (chunk) => {
      answer += chunk;
    });
    connection.on("end", () => resolve(answer));
    connection.on("error", reject);
  });
}
