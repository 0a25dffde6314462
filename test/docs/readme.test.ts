/** The documentation holds: its code compiles and runs, its links lead somewhere, and nothing that users set is left out. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { reservedKeys } from "../../src/session-content.ts";
import { Browser } from "../support/browser.ts";
import { noteOutput } from "../support/raw-ids.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { asScripts, type CodeBlock, codeBlocks, root, typeErrors, workFolder } from "./code-blocks.ts";

const read = (path: string): string => readFileSync(join(root, path), "utf8");
const readme = read("README.md");
const blocks = codeBlocks(readme).filter(({ language }) => language === "ts" || language === "js");

/** The names of an interface's properties, as they stand in its source. */
function propertiesOf(path: string, name: string): string[] {
  const body = new RegExp(`interface ${name}[^\\n]* \\{\\n(.*?)\\n\\}`, "s").exec(read(path))?.[1] ?? "";
  return [...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, property = ""]) => property);
}

/** The names of all options but the cookie's. */
function sessionOptions(): string[] {
  return [
    ...propertiesOf("src/options.ts", "SessionOptions"),
    ...propertiesOf("src/security-options.ts", "SecurityOptions"),
    ...propertiesOf("src/schema.ts", "SchemaOptions"),
  ];
}

/** Which of the names the README does not have in code style. */
function unnamed(names: Iterable<string>): string[] {
  const code = [...readme.matchAll(/`([^`\n]+)`/g)].map(([, text = ""]) => text).join("\n");
  return [...names].filter((name) => !new RegExp(`\\b${name}\\b`).test(code));
}

describe("the README", () => {
  it("has at most 300 lines", () => {
    expect(readme.trimEnd().split("\n").length).toBeLessThanOrEqual(300);
  });

  it("names every option, cookie option, error code, event and reserved name", () => {
    const options = sessionOptions();
    const cookie = propertiesOf("src/cookie-options.ts", "CookieInput");
    const events = propertiesOf("src/events.ts", "SessionEvents");
    const codes = new Set(read("src/errors.ts").match(/ERR_SESSION_[A-Z_]+/g));
    expect([options.length, cookie.length, events.length, codes.size].map((count) => count >= 9)).not.toContain(false);
    expect(unnamed([...options, ...cookie, ...events, ...codes, ...reservedKeys])).toEqual([]);
  });

  it("has no option in its tables that there is not", () => {
    const tables = readme.slice(readme.indexOf("| option |"), readme.indexOf("## Guarantees"));
    const first = [...tables.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell = ""]) => cell.match(/\w+/g) ?? []);
    const known = [...sessionOptions(), ...propertiesOf("src/cookie-options.ts", "CookieInput"), "option"];
    expect(first.length).toBeGreaterThan(20);
    expect(first.filter((name) => !known.includes(name))).toEqual([]);
  });

  it("has code that compiles", async () => {
    expect(blocks.length).toBeGreaterThan(8);
    expect(await typeErrors(blocks)).toBe("");
  });

  it("is checked by a compiler that complains", async () => {
    const wrong = { language: "ts", line: 7, code: 'import { session } from "holdfast/koa";\nsession({ secret: 5 });' };
    expect(await typeErrors([wrong])).toMatch(/^block-at-line-7\.ts\(8,11\): error TS2322/m);
  });
});

describe("the quick starts", () => {
  let redis: RedisServer;
  let folder: { path: string; end(): Promise<void> };
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    ensureBuilt();
    redis = await startRedis();
    folder = await workFolder();
  });

  afterAll(async () => {
    for (const child of children) {
      const ended = child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined;
      child.kill("SIGKILL");
      await ended;
    }
    await folder?.end();
    await redis?.stop();
  });

  /** Runs a script in a process of its own; resolves to where it listens. */
  async function urlOf(script: string): Promise<string> {
    const env = { ...process.env, REDIS_URL: redis.url, SESSION_SECRET: "0123456789abcdef0123456789abcdef" };
    const anyPort = new URL("any-port.mjs", import.meta.url).href;
    const child = fork(script, { env, execArgv: ["--import", anyPort], stdio: ["ignore", "ignore", "pipe", "ipc"] });
    children.push(child);
    let said = "";
    child.stderr?.on("data", (chunk) => {
      said += chunk;
      noteOutput(chunk);
    });
    const port = await new Promise<unknown>((resolve, reject) => {
      child.once("message", resolve);
      child.once("exit", (code) => reject(new Error(`the quick start ended with ${code}:\n${said}`)));
    });
    return `http://127.0.0.1:${port}`;
  }

  it("run as they stand, on Redis, and share one session", async () => {
    const isQuickStart = ({ code }: CodeBlock): boolean => /^\/\/ (Express|Koa|Fastify)\n/.test(code);
    const quickStarts = blocks.filter(isQuickStart);
    expect(quickStarts).toHaveLength(3);
    const scripts = await asScripts(folder.path, quickStarts, ["express", "koa", "fastify"]);
    const urls = await Promise.all(scripts.map(urlOf));
    let browser = new Browser("");
    const seen: unknown[] = [];
    for (const url of [...urls, ...urls]) {
      browser = browser.at(url);
      seen.push((await browser.get("/")).json());
    }
    expect(seen).toEqual([1, 2, 3, 4, 5, 6].map((views) => ({ views })));
  });
});

describe("the texts", () => {
  const inGithub = readdirSync(join(root, ".github"), { recursive: true, encoding: "utf8" });
  const texts = ["README.md", "CHANGELOG.md", ...inGithub.map((path) => join(".github", path))].filter((path) =>
    path.endsWith(".md"),
  );

  /** The anchors of a text's headings, as GitHub makes them. */
  const anchorsOf = (markdown: string): string[] =>
    [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
      title
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-"),
    );

  it.each(texts)("%s has no link that leads nowhere", (path) => {
    const markdown = read(path).replace(/^```.*?^```/gms, "");
    const links = [...markdown.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
    const broken = links.filter((target) => {
      if (/^[a-z]+:/.test(target)) return !target.startsWith("https://");
      const [file = "", anchor] = target.split("#");
      const to = file === "" ? path : join(dirname(path), file);
      if (relative(root, join(root, to)).startsWith("..") || !existsSync(join(root, to))) return true;
      return anchor !== undefined && !anchorsOf(read(to)).includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  const decisions = texts.filter((path) => path.startsWith(".github/decisions/")).toSorted();

  it("number the decisions from 0001 without a gap", () => {
    const numbers = decisions.map((path) => Number(/\/(\d{4})-[a-z0-9-]+\.md$/.exec(path)?.[1]));
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  });

  it.each(decisions)("%s has a date, a status, and its three parts on at most 60 lines", (path) => {
    const text = read(path);
    const number = /\/(\d{4})-/.exec(path)?.[1];
    expect(text).toMatch(
      new RegExp(`^# ${number}\\. .+\\n\\n- Date: \\d{4}-\\d\\d-\\d\\d\\n- Status: (accepted|superseded by .+)\\n`),
    );
    expect(text.match(/^## .+$/gm)).toEqual(["## Context", "## Decision", "## Consequences"]);
    expect(text.trimEnd().split("\n").length).toBeLessThanOrEqual(60);
  });
});
