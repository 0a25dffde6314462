import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { freePort } from "../../examples/cluster/free-port.mjs";
import { expectTook } from "../support/in-time.ts";
import { noteOutput } from "../support/raw-ids.ts";
import { startRedis, until } from "../support/redis-server.ts";
import { type Demo, frameworks, Visitor } from "./demo.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const program = join(root, "examples", "demo", "index.js");

beforeAll(() => ensureBuilt());

/** The demo as a process of its own, on the built package. */
interface Running {
  child: ChildProcess;
  /** Resolves to the exit code, or the signal that ended it. */
  ended: Promise<number | string>;
  output(): string;
}

function runDemo(env: Record<string, string>, command = [process.execPath, program]): Running {
  const [file = "", ...args] = command;
  const child = spawn(file, args, {
    cwd: root,
    env: { PATH: process.env.PATH, REDIS_URL: "", SESSION_SECRET: "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output += chunk;
      noteOutput(chunk);
    });
  }
  const ended = once(child, "close").then(([code, signal]) => code ?? signal);
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
  });
  return { child, ended, output: () => output };
}

/** Waits until the demo has printed its addresses. */
async function urlsOf(running: Running): Promise<Demo["urls"]> {
  await until(() => {
    expect(running.child.exitCode, running.output()).toBeNull();
    return running.output().includes("Ctrl-C");
  }, "the demo to print its addresses");
  const [express, koa, fastify] = running.output().match(/http:\/\/localhost:\d+/g) ?? [];
  if (express === undefined || koa === undefined || fastify === undefined) throw new Error(running.output());
  return { express, koa, fastify };
}

/** The first of three ports that were all free a moment ago. */
async function freePorts(): Promise<number> {
  for (;;) {
    const port = await freePort();
    const taken = await Promise.all([port + 1, port + 2].map((next) => occupy(next).catch(() => undefined)));
    await Promise.all(taken.map((server) => server && new Promise((resolve) => server.close(resolve))));
    if (taken.every((server) => server !== undefined)) return port;
  }
}

async function occupy(port: number): Promise<Server> {
  const server = createServer();
  server.listen(port);
  await once(server, "listening");
  return server;
}

/** Requests with connections that are kept open, as a browser's are. */
async function visitWithKeepAlive(url: string): Promise<void> {
  const agent = new Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const call = request(`${url}/api/session`, { agent }).end();
  const [response] = await once(call, "response");
  response.resume();
  await once(response, "end");
}

describe("the demo as a process", () => {
  it.each(["SIGINT", "SIGTERM"] as const)(
    "ends at once and with code 0 on %s, connections open or not",
    async (signal) => {
      const running = runDemo({ PORT: "0" });
      const urls = await urlsOf(running);
      for (const framework of frameworks) await visitWithKeepAlive(urls[framework]);
      const started = performance.now();
      running.child.kill(signal);
      expect(await running.ended).toBe(0);
      expectTook(performance.now() - started, 2_500, "the end");
      expect(running.output()).not.toMatch(/error/i);
    },
  );

  it("ends with code 0 while Redis is there and while it is gone", async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    for (const isGone of [false, true]) {
      const running = runDemo({ PORT: "0", REDIS_URL: redis.url });
      const visitor = new Visitor(await urlsOf(running));
      expect((await visitor.call("koa", "POST /api/views")).status).toBe(200);
      if (isGone) await redis.kill();
      running.child.kill("SIGTERM");
      expect(await running.ended).toBe(0);
    }
  });

  it("ends when npm, which has started it, is told to end", async () => {
    const running = runDemo({ PORT: "0" }, ["npm", "start"]);
    const { koa } = await urlsOf(running);
    running.child.kill("SIGTERM");
    await running.ended; // of npm, and of all that could still write to its output
    await expect(fetch(koa)).rejects.toThrow("fetch failed");
  });

  it("finishes an answer that is under way when it is told to end", async () => {
    const running = runDemo({ PORT: "0" });
    const urls = await urlsOf(running);
    const calls = frameworks.map((framework) => {
      const headers = { "content-type": "application/json", expect: "100-continue" };
      const call = request(`${urls[framework]}/api/login`, { method: "POST", headers });
      call.flushHeaders();
      return call;
    });
    const answers = calls.map((call) => once(call, "response"));
    await Promise.all(calls.map((call) => once(call, "continue")));
    running.child.kill("SIGTERM");
    await until(async () => {
      const probes = Object.values(urls).map((url) =>
        fetch(url).then(
          () => true,
          () => false,
        ),
      );
      return !(await Promise.all(probes)).includes(true);
    }, "the servers to stop listening");
    for (const call of calls) call.end('{"user":"ada"}');
    for (const [response] of await Promise.all(answers)) {
      expect(response.statusCode).toBe(200);
      response.resume();
    }
    expect(await running.ended).toBe(0);
  });

  it("serves on PORT and the two ports after it, and says where the sessions and the secret come from", async () => {
    const port = await freePorts();
    const running = runDemo({ PORT: String(port) });
    expect(await urlsOf(running)).toEqual({
      express: `http://localhost:${port}`,
      koa: `http://localhost:${port + 1}`,
      fastify: `http://localhost:${port + 2}`,
    });
    expect(running.output()).toMatch(/Sessions.*set REDIS_URL/);
    expect(running.output()).toMatch(/Secret.*set SESSION_SECRET/);
  });

  it("shares sessions between processes that have one Redis and one secret, and prints neither password nor secret", async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    await redis.command("CONFIG", "SET", "requirepass", "tide-and-swell");
    const env = {
      PORT: "0",
      REDIS_URL: redis.url.replace("//", "//:tide-and-swell@"),
      SESSION_SECRET: "the secret that both processes have",
    };
    const processes = [runDemo(env), runDemo(env)];
    const [first, second] = await Promise.all(processes.map(urlsOf));
    if (first === undefined || second === undefined) throw new Error("two processes run");
    const here = new Visitor(first);
    await here.call("express", "POST /api/login", { user: "ada" });
    const there = new Visitor(second);
    for (const [name, value] of here.cookies) there.cookies.set(name, value);
    expect(await there.session("fastify")).toMatchObject({ user: "ada", id: (await here.session("koa")).id });
    for (const running of processes) {
      expect(running.output()).toContain(`in Redis at 127.0.0.1:${redis.port}`);
      expect(running.output()).not.toMatch(/tide-and-swell|the secret that both/);
    }
  });

  it.each([0, 1, 2])(
    "says which port is in use and ends with code 1, be it the first, second or third (%i)",
    async (offset) => {
      const port = await freePorts();
      const squatter = await occupy(port + offset);
      onTestFinished(() => void squatter.close());
      const running = runDemo({ PORT: String(port) });
      expect(await running.ended).toBe(1);
      expect(running.output()).toBe(
        `Port ${port + offset} is in use. Choose three free ones in a row by the first: PORT=4000 npm start\n`,
      );
    },
  );

  it.each([
    ["PORT", { PORT: "eighty" }, /PORT must be a whole number/],
    ["PORT", { PORT: "65534" }, /PORT must be a whole number/],
    ["SESSION_SECRET", { PORT: "0", SESSION_SECRET: "short" }, /secret.*32/],
    ["REDIS_URL", { PORT: "0", REDIS_URL: "not a url" }, /url/i],
  ])("says what is wrong with %s and ends with code 1 (%j)", async (_, env, message) => {
    const running = runDemo(env);
    expect(await running.ended).toBe(1);
    expect(running.output()).toMatch(message);
    expect(running.output().trim().split("\n")).toHaveLength(1);
    expect(running.output()).not.toContain("short");
  });
});
