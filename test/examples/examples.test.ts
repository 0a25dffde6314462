import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import type { Server } from "node:http";
import { connect } from "node:net";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import * as auditLog from "../../examples/audit-log.js";
import { freePort } from "../../examples/cluster/free-port.mjs";
import * as csrfCsrf from "../../examples/csrf-csrf.js";
import * as csrfSync from "../../examples/csrf-sync.js";
import * as customStore from "../../examples/custom-store.js";
import * as devices from "../../examples/devices.js";
import * as express from "../../examples/express.js";
import * as fastify from "../../examples/fastify.js";
import * as koa from "../../examples/koa.js";
import * as lazy from "../../examples/lazy.js";
import * as passport from "../../examples/passport.js";
import * as rememberMe from "../../examples/remember-me.js";
import * as websocket from "../../examples/websocket.js";
import { Browser, readSetCookie } from "../support/browser.ts";
import { until } from "../support/redis-server.ts";
import { opened, playStep, scriptOf } from "./example.ts";

const examples: Record<string, { start(port: number): Server | Promise<Server> }> = {
  "audit-log": auditLog,
  "csrf-csrf": csrfCsrf,
  "csrf-sync": csrfSync,
  "custom-store": customStore,
  devices,
  express,
  fastify,
  koa,
  lazy,
  passport,
  "remember-me": rememberMe,
  websocket,
};

const folder = new URL("../../examples/", import.meta.url);

describe("the examples", () => {
  it("are all played here", async () => {
    const files = (await readdir(folder)).filter((file) => file.endsWith(".js"));
    expect(files).toEqual(Object.keys(examples).map((name) => `${name}.js`));
  });

  it.each(Object.entries(examples))("%s does what the script in its header says", async (name, { start }) => {
    const app = await opened(start(0));
    onTestFinished(() => app.close());
    const browser = new Browser(app.url);
    const script = await scriptOf(name);
    expect(script.length).toBeGreaterThan(1);
    for (const step of script) {
      const answer = await playStep(browser, step);
      expect(answer.status, step.line).toBe(step.status);
      if (step.answer === undefined) expect(answer.text, step.line).toBe("");
      else if (step.answer !== "…") expect(answer.json(), step.line).toEqual(JSON.parse(step.answer));
    }
  });
});

describe("an example run by node alone", () => {
  beforeAll(() => ensureBuilt());

  it.each(Object.keys(examples))("%s serves on PORT", async (name) => {
    const port = await freePort();
    const child = run(`${name}.js`, port);
    let answer: Response | undefined;
    await until(async () => {
      expect(child.exitCode).toBeNull();
      answer = await fetch(`http://localhost:${port}/`).catch(() => undefined);
      return answer !== undefined;
    }, `${name} to serve`);
    expect(answer?.status).toBeLessThan(500);
    child.kill("SIGTERM");
    const [code] = await once(child, "exit");
    expect(code).toBe(0);
  });

  it.each(["express", "fastify"])("%s answers what is under way when it is told to end", async (name) => {
    const port = await freePort();
    const child = run(`${name}.js`, port);
    const health = () => fetch(`http://localhost:${port}/health`).catch(() => undefined);
    await until(async () => (await health())?.status === 200, `${name} to serve`);
    const ended = once(child, "exit");
    const socket = connect(port, "localhost");
    let answer = "";
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    const closed = once(socket, "close");
    const body = '{"user":"ada"}';
    const head = `POST /login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
    socket.write(`${head}\r\n\r\n${body.slice(0, 5)}`);
    // On a connection of its own, behind the first one: once it is answered, that has arrived too.
    await health();
    child.kill("SIGTERM");
    await until(async () => (await health()) === undefined, `${name} to accept no more`);
    socket.write(body.slice(5));
    expect(await ended).toEqual([0, null]);
    await closed;
    expect(answer).toMatch(/^HTTP\/1\.1 200 [\s\S]*set-cookie: sid=[\s\S]*\{"user":"ada"\}/i);
  });

  it("Express, Koa and Fastify keep no connection from the moment they are told to end, and serve on while they drain", async () => {
    await Promise.all(
      ["express", "koa", "fastify"].map(async (name) => {
        const port = await freePort();
        const child = run(`${name}.js`, port, { NOTICE: "600000" });
        const get = (path: string) => fetch(`http://localhost:${port}${path}`).catch(() => undefined);
        await until(async () => (await get("/health"))?.status === 200, `${name} to serve`);
        expect((await get("/"))?.headers.get("connection"), name).toBe("keep-alive");
        child.kill("SIGTERM");
        await until(async () => (await get("/health"))?.status === 404, `${name} to drain`);
        const answer = await get("/");
        expect([answer?.status, answer?.headers.get("connection")], name).toEqual([200, "close"]);
      }),
    );
  });
});

/** Runs an example from the built package, `more` in its environment; ended with the test. */
function run(file: string, port: number, more: Record<string, string> = {}): ChildProcess {
  const env = { ...process.env, PORT: String(port), REDIS_URL: "", ...more };
  const child = spawn(process.execPath, [new URL(file, folder).pathname], { env, stdio: "inherit" });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  return child;
}

describe("the remember-me example", () => {
  it("gives who asks for it a cookie of 30 days, and everybody else one that ends with the browser", async () => {
    const app = await opened(rememberMe.start(0));
    onTestFinished(() => app.close());
    const browser = new Browser(app.url);
    const maxAgeAfter = async (path: string, method = "POST"): Promise<string | undefined> => {
      const { setCookies } = await browser.get(path, { method });
      const [line = ""] = setCookies;
      return readSetCookie(line).attributes.find((attribute) => /^max-age=/i.test(attribute));
    };
    expect(await maxAgeAfter("/login?user=ada")).toBeUndefined();
    expect(await maxAgeAfter("/login?user=ada&remember=on")).toMatch(/^max-age=2592000$/i);
    expect(await maxAgeAfter("/forget")).toBeUndefined();
    expect(browser.cookies.has("sid")).toBe(true);
  });
});
