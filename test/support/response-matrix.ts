/**
 * The response matrix: plays one way to answer in one framework, with and without the session middleware, over raw
 * sockets, and compares. Says what became of the change and of the cookie, and fails where the response differs in
 * anything but `Set-Cookie`, `Cache-Control`, `Vary` and `Date`, or where the app saw anything else happen.
 * Called by the tests in `test/faults/response-matrix*`.
 */
import { hash } from "node:crypto";
import { connect } from "node:net";
import { expect, onTestFinished } from "vitest";
import { createSessions, memoryStore, type Sessions } from "../../src/index.ts";
import { Browser, readSetCookie } from "./browser.ts";
import { until } from "./deferred.ts";
import { type ProbeStore, probeStore } from "./probe-store.ts";
import type { Act, Handlers, Host, Question, Stage } from "./response-hosts.ts";
import { hosts } from "./response-hosts.ts";

/** Where the handler's change finds the session. */
export type SceneName = "a new session" | "a stored session" | "one that is only read" | "one that nobody touches";

/** The four scenes of each row. */
export const sceneNames: readonly SceneName[] = [
  "a new session",
  "a stored session",
  "one that is only read",
  "one that nobody touches",
];

/** A way to answer, and what to ask for. */
export interface Row extends Handlers, Question {
  /** The status of the answer; default: 200. */
  status?: number;
  /** The head leaves before the change can be saved: a cookie that a new session needs is reported instead. */
  isLate?: boolean;
  /** What reaches the app's error handling while the save takes its time; default: what does without sessions. */
  errors?: readonly string[];
}

/** What became of one request: one line of the table. */
export interface Outcome {
  /** The store's calls, in order. */
  store: string[];
  /** Session cookies on the response. */
  cookies: number;
  /** Why a cookie was left out. */
  skipped: string[];
  /** What the next request reads, or the store holds where no cookie could be set. */
  data: unknown;
}

/** An engine, its store, and what it reported. */
export interface Backstage {
  sessions: Sessions;
  store: ProbeStore;
  skipped: { id: string; reason: string }[];
}

/** An engine of its own; its writes take a while, so that the response has to be held. Ends with the test. */
export function backstage(): Backstage {
  const store = probeStore(memoryStore());
  const sessions = createSessions({ secret: "the response matrix's signing key, 32 or more", store });
  const skipped: Backstage["skipped"] = [];
  sessions.on("cookieSkipped", (event) => skipped.push(event));
  store.delayMs.write = 2;
  onTestFinished(() => sessions.close());
  return { sessions, store, skipped };
}

/** An app on a stage that is struck with the test. */
export async function stageOf(host: Host, row: Handlers, sessions?: Sessions): Promise<Stage> {
  const stage = await host.start(row, sessions);
  onTestFinished(() => stage.close());
  return stage;
}

/** Sends bytes and reads until the server closes the connection; `onHead` runs when a final head has arrived. */
export function talk(port: number, text: string, onHead: () => void = () => {}): Promise<string> {
  return new Promise((resolve, reject) => {
    let bytes = "";
    let isHere = false;
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    socket.setEncoding("latin1");
    socket.on("data", (part) => {
      bytes += part;
      if (isHere || !/^HTTP\/1\.1 [2-5]/m.test(bytes)) return;
      isHere = true;
      onHead();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(bytes.replaceAll(/^Date: [^\r]+/gim, "Date: -")));
  });
}

/** One request as text, on a connection that the server closes after it. */
export function requestText(row: Question, cookie?: string, isLast = true): string {
  const lines = [`${row.method ?? "GET"} /row HTTP/1.1`, "Host: x", ...(row.headers ?? [])];
  if (isLast && !row.headers?.some((line) => /^connection:/i.test(line))) lines.push("Connection: close");
  if (cookie !== undefined) lines.push(`Cookie: ${cookie}`);
  return `${lines.join("\r\n")}\r\n\r\n${row.body ?? ""}`;
}

/** What the process emitted as unhandled while the test runs. */
export function watchProcess(): unknown[] {
  const seen: unknown[] = [];
  const note = (reason: unknown): void => void seen.push(reason);
  process.on("unhandledRejection", note).on("uncaughtExceptionMonitor", note);
  onTestFinished(() => void process.off("unhandledRejection", note).off("uncaughtExceptionMonitor", note));
  return seen;
}

const http1: Host = hosts[0] as Host; // the list is never empty

const acts: Record<SceneName, Act> = {
  "a new session": "write",
  "a stored session": "write",
  "one that is only read": "read",
  "one that nobody touches": "none",
};

function askFor(host: Host, { port }: Stage, row: Row, cookie?: string, onHead = (): void => {}): Promise<string> {
  return host.ask?.(port, row, cookie, onHead) ?? talk(port, requestText(row, cookie), onHead);
}

interface Bare {
  text: string;
  seen: readonly string[];
  errors: readonly string[];
}

const bareAnswers = new WeakMap<Row, Map<string, Bare>>();

/** What a row is without the session middleware: played once, the same for each scene. */
async function bareAnswer(host: Host, row: Row): Promise<Bare> {
  const byHost = bareAnswers.get(row) ?? new Map<string, Bare>();
  bareAnswers.set(row, byHost);
  let bare = byHost.get(host.name);
  if (bare === undefined) {
    const stage = await host.start(row, undefined);
    const text = await askFor(host, stage, row).finally(() => stage.close());
    bare = { text, seen: stage.seen, errors: stage.errors };
    byHost.set(host.name, bare);
  }
  return bare;
}

/** Plays a row in one scene, checks all that holds for every row, and returns its line of the table. */
export async function play(host: Host, row: Row, scene: SceneName): Promise<Outcome> {
  const unhandled = watchProcess();
  const bare = await bareAnswer(host, row);
  const expected = bare.text;
  expect(expected).toContain(`HTTP/1.1 ${row.status ?? 200} `);
  const engine = backstage();
  const { sessions, store, skipped } = engine;
  const stage = await stageOf(host, row, sessions);
  // Another service with the same sessions, where fetch() can't reach the stage.
  const browser = new Browser((host.ask ? await stageOf(http1, {}, sessions) : stage).url);
  if (scene === "a stored session" || scene === "one that is only read") {
    expect((await browser.get("/set")).status).toBe(200);
  }
  store.forget();
  stage.act = acts[scene];
  let unsettled = 0;
  const text = await askFor(host, stage, row, browser.cookieHeader, () => {
    unsettled = store.calls.filter(({ settled }) => !settled).length;
  });
  const wantsSave = row.isLate === true && acts[scene] === "write";
  await until(() => !wantsSave || (store.count("write") > 0 && store.calls.every((call) => call.settled)), "late save");
  // Whatever is wrongly on its way yet (a second save, a late error) has a few turns to show itself.
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  await until(() => stage.seen.length >= bare.seen.length, "what the app saw without sessions");
  const calls = store.calls.map(({ verb }) => verb);
  const orphans = orphansOf(engine, text, browser);
  if (acts[scene] === "none") expect(text).toBe(expected);
  expect(withoutSession(text)).toBe(withoutSession(expected));
  expect(addedHeaders(text, expected)).toEqual(wantedHeaders(row, scene, expected));
  const errors = (calls.includes("write") ? row.errors : undefined) ?? bare.errors;
  expect({ seen: stage.seen, errors: stage.errors }).toEqual({ seen: bare.seen, errors });
  expect({ unsettled: row.isLate ? 0 : unsettled, orphans, unhandled }).toEqual({
    unsettled: 0,
    orphans: [],
    unhandled: [],
  });
  for (const line of cookiesIn(text)) {
    const { name, value } = readSetCookie(line);
    browser.cookies.set(name, value);
  }
  const reported = skipped[0];
  const data = reported === undefined ? (await browser.get("/read")).json() : (await sessions.get(reported.id))?.data;
  return { store: calls, cookies: cookiesIn(text).length, skipped: skipped.map(({ reason }) => reason), data };
}

/** What the table must say of a row, whatever the framework. */
export function outcomeOf(row: Row, scene: SceneName): Outcome {
  const isNew = scene === "a new session";
  const isSkipped = isNew && row.isLate === true;
  const lines: Record<SceneName, Pick<Outcome, "store" | "data">> = {
    "a new session": { store: ["write"], data: { hit: true } },
    "a stored session": { store: ["read", "write"], data: { user: "ada", hit: true } },
    "one that is only read": { store: ["read"], data: { user: "ada" } },
    "one that nobody touches": { store: [], data: {} },
  };
  return { ...lines[scene], cookies: isNew && !isSkipped ? 1 : 0, skipped: isSkipped ? ["headers-sent"] : [] };
}

/** Keys in the store that no cookie leads to and no event told of. */
export function orphansOf({ store, skipped }: Backstage, text: string, browser: Browser): string[] {
  const values = [...browser.cookies.values(), ...cookiesIn(text).map((line) => readSetCookie(line).value)];
  const known = new Set(values.map((value) => hash("sha256", value.split(".")[0] ?? "", "base64url")));
  for (const { id } of skipped) known.add(id);
  return store.calls.filter(({ verb, key }) => verb === "write" && !known.has(key)).map(({ key }) => key);
}

/** The session's `Set-Cookie` lines in a response. */
export function cookiesIn(text: string): string[] {
  return headersIn(text, "set-cookie").filter((value) => value.startsWith("sid="));
}

/** A response without the headers that a session may change. */
export function withoutSession(text: string): string {
  return text.replaceAll(/^(Set-Cookie|Cache-Control|Vary): [^\r]*\r\n/gim, "");
}

interface Headers {
  cacheControl: string[];
  vary: string[];
  otherCookies: string[];
}

function headersIn(text: string, name: string): string[] {
  return [...text.matchAll(new RegExp(`^${name}: ([^\\r]*)\\r\\n`, "gim"))].map(([, value = ""]) => value);
}

function headersOf(text: string): Headers {
  return {
    cacheControl: headersIn(text, "cache-control"),
    vary: headersIn(text, "vary").flatMap((value) => value.split(", ")),
    otherCookies: headersIn(text, "set-cookie").filter((value) => !value.startsWith("sid=")),
  };
}

/** What stands in the three headers, the bare response's first. */
function addedHeaders(text: string, expected: string): Headers {
  const { cacheControl, vary, otherCookies } = headersOf(text);
  const before = headersOf(expected).vary;
  const place = (name: string): number => (before.includes(name) ? before.indexOf(name) : before.length);
  return { cacheControl, vary: vary.toSorted((a, b) => place(a) - place(b)), otherCookies };
}

/** `no-store` with a cookie, unless the app has a say; `Vary: Cookie` where the session was used in time. */
function wantedHeaders(row: Row, scene: SceneName, expected: string): Headers {
  const { cacheControl, vary, otherCookies } = headersOf(expected);
  const hasCookie = scene === "a new session" && !row.isLate;
  const isUsed = scene !== "one that nobody touches" && !row.isLate;
  return {
    cacheControl: hasCookie && cacheControl.length === 0 ? ["no-store"] : cacheControl,
    vary: isUsed ? [...vary, "Cookie"] : vary,
    otherCookies,
  };
}
