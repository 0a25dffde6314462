/**
 * A TCP proxy before a real redis-server that has one command refused, with a reply of the test's choice: in the
 * command's place it sends a script that does nothing but give that error, so that Redis itself answers it, in its turn.
 * Reads requests only, in RESP; replies go through as they are. Called by tests of replies that pass by themselves.
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A running proxy. */
export interface RefusingProxy {
  readonly port: number;
  /** The next command of that name, in capital letters, is answered with that error, and not run. */
  refuse(command: string, reply: string): void;
  /** How many commands were refused so far. */
  readonly refused: number;
  stop(): Promise<void>;
}

/** Starts a proxy to a port of the loopback. */
export async function startRefusingProxy(target: number): Promise<RefusingProxy> {
  const sockets = new Set<Socket>();
  let due: { command: string; reply: string } | undefined;
  let refused = 0;
  const passOn = (request: Request): Buffer => {
    if (due === undefined || request.command !== due.command) return request.bytes;
    const { reply } = due;
    due = undefined;
    refused += 1;
    return encode("EVAL", "return redis.error_reply(ARGV[1])", "0", reply);
  };
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    let rest: Buffer = Buffer.alloc(0);
    client.on("data", (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (let next = firstIn(rest); next !== undefined; next = firstIn(rest)) {
        upstream.write(passOn(next));
        rest = rest.subarray(next.bytes.length);
      }
    });
    upstream.on("data", (chunk) => client.write(chunk));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    refuse(command, reply) {
      due = { command, reply };
    },
    get refused() {
      return refused;
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

interface Request {
  command: string;
  bytes: Buffer;
}

/** The first whole request, an array of bulk strings as every client sends it; `undefined`: more has to come. */
function firstIn(bytes: Buffer): Request | undefined {
  let at = 0;
  /** The number behind the type's letter; moves on behind its line. */
  const count = (): number | undefined => {
    const end = bytes.indexOf("\r\n", at);
    if (end < 0) return undefined;
    const number = Number(bytes.toString("latin1", at + 1, end));
    at = end + 2;
    return number;
  };
  const words = count();
  if (words === undefined) return undefined;
  let command = "";
  for (let word = 0; word < words; word += 1) {
    const length = count();
    if (length === undefined || bytes.length < at + length + 2) return undefined;
    if (word === 0) command = bytes.toString("latin1", at, at + length).toUpperCase();
    at += length + 2;
  }
  return { command, bytes: bytes.subarray(0, at) };
}

function encode(...words: string[]): Buffer {
  const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
  return Buffer.from(`*${words.length}\r\n${parts.join("")}`);
}
