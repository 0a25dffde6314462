/**
 * `rediss://` and its kin against real servers that take nobody without a certificate: one, behind a Sentinel, and a
 * Cluster. The certificate is made here by openssl, which `npm test` installs where it is missing.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "../../examples/cluster/free-port.mjs";
import { redisStore } from "../../src/stores/redis.ts";
import { textOf } from "../../src/testing/contract-kit.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";
import { writesTo } from "../support/socket-writes.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-tls-"));
const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
const servers: RedisServer[] = [];
const ports = { single: 0, sentinel: 0, cluster: 0 };

/** A server that speaks TLS on `port`, to clients and to its kind, and without only to whoever waits for its start. */
async function start(port: number, config: string[], args: string[] = []): Promise<RedisServer> {
  const tls = [`tls-port ${port}`, `tls-cert-file ${cert}`, `tls-key-file ${key}`, `tls-ca-cert-file ${cert}`];
  const usual = ["bind 127.0.0.1", "tls-auth-clients yes", "tls-replication yes"];
  const server = await startRedis({
    args,
    config: (plain) => [`port ${plain}`, ...usual, ...tls, ...config, ""].join("\n"),
  });
  servers.push(server);
  return server;
}

beforeAll(async () => {
  const self = ["-x509", "-nodes", "-days", "2", "-subj", "/CN=holdfast", "-addext", "subjectAltName=IP:127.0.0.1"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  execFileSync("openssl", ["req", ...self, ...curve, "-out", cert, "-keyout", key], { stdio: "pipe" });
  for (const kind of ["single", "sentinel", "cluster"] as const) ports[kind] = await freePort();
  const none = ['save ""'];
  const monitor = ["sentinel monitor sessions 127.0.0.1", ports.single, 1].join(" ");
  const [, , node] = await Promise.all([
    start(ports.single, none),
    start(ports.sentinel, [monitor], ["--sentinel"]),
    start(ports.cluster, [
      ...none,
      "cluster-enabled yes",
      "cluster-announce-ip 127.0.0.1",
      "tls-cluster yes",
      `cluster-port ${await freePort()}`,
    ]),
  ]);
  await node.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
  const isServing = async () => (await node.command("CLUSTER", "INFO")).includes("cluster_state:ok");
  await until(isServing, "the Cluster to serve");
});

afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
  rmSync(folder, { recursive: true });
});

const id = "9f-QzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";

test.each([
  ["rediss", "single", ""],
  ["rediss+sentinel", "sentinel", "?name=sessions"],
  ["rediss+cluster", "cluster", ""],
] as const)(
  "%s:// saves and reads a session, sends a turn in one write, and nothing where the server's certificate is not trusted",
  async (scheme, kind, query) => {
    const url = `${scheme}://127.0.0.1:${ports[kind]}${query}`;
    const own = { cert: readFileSync(cert), key: readFileSync(key) };
    const store = redisStore(url, { prefix: `${kind}:`, tls: { ...own, ca: own.cert } });
    const call = { deadline: performance.now() + 10_000, durable: false };
    const [now, payload] = [Date.now(), Buffer.from("over TLS")];
    const record = { createdAt: now, touchedAt: now, expiresAt: now + 60_000, absoluteExpiresAt: null, payload };
    expect(await store.write(id, { kind: "live", ...record }, "absent", call)).toMatchObject({ ok: true });
    expect(textOf(await store.read(id, call))).toBe("over TLS");
    const ids = Array.from({ length: 20 }, (_, index) => `${id.slice(2)}${String(index).padStart(2, "0")}`);
    const burst = () => Promise.all(ids.map((each) => store.read(each, call)));
    const port = kind === "cluster" ? ports.cluster : ports.single;
    expect(await writesTo([port], burst)).toEqual([1]);
    await store.close?.();

    const distrusting = redisStore(url, { tls: own });
    const soon = { deadline: performance.now() + 250, durable: false };
    await expect(distrusting.read(id, soon)).rejects.toMatchObject({ code: "ERR_SESSION_STORE" });
    await distrusting.close?.();
  },
);
