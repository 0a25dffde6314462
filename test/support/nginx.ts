/**
 * A real nginx on one of the configurations that `examples/cluster/` ships for conf.d/, with the addresses in it replaced
 * as its header says. No test logic.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../../examples/cluster/free-port.mjs";
import type { Balancer } from "./haproxy.ts";
import { startProgram } from "./program.ts";

const configurations = new URL("../../examples/cluster/", import.meta.url);

/** What stands around conf.d/: everything in the folder of the test, one process in the foreground, which a kill ends. */
const main = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {}
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  include site.conf;
}
`;

/** Writes a shipped configuration and what stands around it into a folder; `replaced`: addresses by those in the file. */
async function install(config: string, replaced: Record<string, string>): Promise<string> {
  let site = await readFile(new URL(config, configurations), "utf8");
  for (const [shipped, own] of Object.entries(replaced)) {
    if (!site.includes(shipped)) throw new Error(`${config} does not name ${shipped}`);
    site = site.replaceAll(`${shipped};`, `${own};`).replaceAll(`${shipped} `, `${own} `);
  }
  const dir = await mkdtemp(join(tmpdir(), "holdfast-nginx-"));
  await writeFile(join(dir, "nginx.conf"), main);
  await writeFile(join(dir, "site.conf"), site);
  return dir;
}

const argumentsFor = (dir: string): string[] => ["-p", dir, "-e", "stderr", "-c", join(dir, "nginx.conf")];

/** Starts nginx before nodes on these ports, n1 first; resolves once it accepts connections. */
export async function startNginx(config: string, ports: readonly number[]): Promise<Balancer> {
  const port = await freePort();
  const nodes = ports.map((node, index) => [`127.0.0.1:${3001 + index}`, `127.0.0.1:${node}`]);
  const dir = await install(config, { "127.0.0.1:8080": `127.0.0.1:${port}`, ...Object.fromEntries(nodes) });
  const program = await startProgram({ command: "nginx", args: argumentsFor(dir), dir, isReady: () => accepts(port) });
  return { url: `http://127.0.0.1:${port}`, program };
}

/** What `nginx -t` says of a shipped configuration as it stands; rejects where it is not valid. */
export async function checkNginx(config: string): Promise<string> {
  const dir = await install(config, {});
  const env = { ...process.env, PATH: [process.env.PATH, "/usr/sbin"].join(delimiter) };
  try {
    const { stdout, stderr } = await promisify(execFile)("nginx", ["-t", ...argumentsFor(dir)], { env });
    return stdout + stderr;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => socket.end(() => resolve(true)));
    socket.once("error", () => resolve(false));
  });
}
