/**
 * A redis-server without a client library: one command on a connection of its own, MONITOR, and waiting for a
 * condition. Called by `redis-server.ts` and by tests that count commands.
 */
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** The commands that a server ran, as `redis-cli MONITOR` prints them. */
export interface Monitor {
  /** One line per command, oldest first; grows. A command run by a script has `lua]` in its line. */
  readonly lines: string[];
  /** Resolves when every command that the server ran before this call is in `lines`. */
  flush(): Promise<void>;
  /** Flushes, then stops collecting. */
  stop(): Promise<void>;
}

/** Waits until `check` holds, asking every few milliseconds. */
export async function until(check: () => boolean | Promise<boolean>, what: string, withinMs = 60_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await check())) {
    if (performance.now() > end) throw new Error(`waited ${withinMs} ms in vain for: ${what}`);
    await delay(10);
  }
}

/** Sends one command in RESP on a new connection and resolves to the raw start of the answer. */
export async function rawCommand(port: number, args: string[]): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  try {
    socket.write(encodeCommand(args));
    return await new Promise<string>((resolve, reject) => {
      let text = "";
      socket.on("error", reject);
      socket.on("close", () => reject(new Error(`redis-server on ${port} closed the connection`)));
      socket.on("data", (chunk) => {
        text += chunk.toString("latin1");
        if (isComplete(text)) resolve(text.trimEnd());
      });
    });
  } finally {
    socket.destroy();
  }
}

function encodeCommand(args: string[]): string {
  return `*${args.length}\r\n${args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`).join("")}`;
}

/** Good enough for status, integer, error and bulk replies, and the first packet of an array. */
function isComplete(text: string): boolean {
  const head = text.indexOf("\r\n");
  if (head < 0) return false;
  if (text[0] !== "$" || text.startsWith("$-1")) return true;
  return text.length >= head + 2 + Number(text.slice(1, head)) + 2;
}

const marker = "holdfast-test-monitor-mark";

/** Starts MONITOR on a server of this machine. */
export async function startMonitor(port: number): Promise<Monitor> {
  const socket = connect(port, "127.0.0.1");
  socket.setEncoding("utf8");
  const lines: string[] = [];
  let marks = 0;
  let rest = "";
  let started = false;
  socket.on("error", () => {});
  socket.on("data", (chunk: string) => {
    const parts = (rest + chunk).split("\r\n");
    rest = parts.pop() ?? "";
    for (const line of parts) {
      if (line === "+OK") started = true;
      else if (line.includes(marker)) marks += 1;
      else lines.push(line.replace(/^\+/, ""));
    }
  });
  socket.write("MONITOR\r\n");
  await until(() => started, "MONITOR to start");
  const flush = async (): Promise<void> => {
    const before = marks;
    if (socket.destroyed) throw new Error("the monitor's connection is gone: the server ended");
    await rawCommand(port, ["ECHO", marker]);
    await until(() => marks > before || socket.destroyed, "MONITOR to catch up");
  };
  return {
    lines,
    flush,
    async stop() {
      await flush();
      socket.destroy();
    },
  };
}
