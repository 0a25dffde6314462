/**
 * A TCP proxy before a real server, to lose answers and connections on purpose. It reads no protocol: it forwards
 * bytes until it is told not to. Called by tests of lost answers.
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A running proxy. */
export interface TcpProxy {
  readonly port: number;
  /**
   * From the next request that holds `text` on, that connection's answers are lost, and then the connection.
   * `after`: so many such requests are answered before. @default 0
   */
  loseAnswerTo(text: string, after?: number): void;
  /** The next request that holds `text` is lost before the server has it, and then its connection. */
  loseRequestWith(text: string): void;
  /** Whether a loss is due that has not come. */
  readonly isLossDue: boolean;
  /** No loss is due any more. */
  spare(): void;
  /** How many answers, and requests, were lost so far. */
  readonly lost: number;
  /** While shut, every new connection is cut at once. */
  isShut: boolean;
  /** How long each answer is kept back, in ms; their order stays. @default 0 */
  delayMs: number;
  /** While true, nothing that the server sends goes on; what is kept back when the server's end closes is lost. */
  isStalled: boolean;
  /** How many answers are kept back now. */
  readonly held: number;
  /**
   * Keeps back every answer on connections that have sent `text`, or will; the function returned lets them go on, in
   * order.
   */
  freeze(text: string): () => void;
  /** Resets every connection at once (RST); new ones are taken unless it is shut. */
  cut(): void;
  stop(): Promise<void>;
}

/** Starts a proxy to a port of the loopback. */
export async function startProxy(target: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let trigger: string | undefined;
  let unwanted: string | undefined;
  let toPass = 0;
  let lost = 0;
  let held = 0;
  let isStalled = false;
  /** What a stalled connection keeps back. */
  const stalled = new Map<Socket, Buffer[]>();
  /** When a connection's last answer that was kept back goes on. */
  const dueAt = new WeakMap<Socket, number>();
  let frozen: { text: string; kept: (() => void)[] } | undefined;
  const server = createServer((client) => {
    /** What the client has sent, as far as `freeze` may ask for it. */
    let sent = "";
    if (proxy.isShut) {
      client.destroy();
      return;
    }
    const upstream = connect(target, "127.0.0.1");
    let isLosing = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        stalled.delete(client);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (chunk) => {
      sent = (sent + chunk.toString("latin1")).slice(0, 4_000);
      if (trigger !== undefined && chunk.includes(trigger) && toPass-- <= 0) {
        trigger = undefined;
        isLosing = true;
      }
      if (unwanted !== undefined && chunk.includes(unwanted)) {
        unwanted = undefined;
        lost += 1;
        client.destroy();
        return;
      }
      upstream.write(chunk);
    });
    upstream.on("data", (chunk) => {
      if (isStalled) {
        stalled.set(client, [...(stalled.get(client) ?? []), chunk]);
        return;
      }
      if (frozen !== undefined && sent.includes(frozen.text)) {
        frozen.kept.push(() => client.destroyed || client.write(chunk));
        return;
      }
      if (!isLosing) {
        pass(client, chunk);
        return;
      }
      lost += 1;
      client.destroy();
    });
  });
  const pass = (client: Socket, chunk: Buffer): void => {
    const at = Math.max(performance.now() + proxy.delayMs, dueAt.get(client) ?? 0);
    if (proxy.delayMs === 0 && !dueAt.has(client)) {
      client.write(chunk);
      return;
    }
    // Nothing overtakes what is kept back.
    dueAt.set(client, at);
    held += 1;
    setTimeout(() => {
      held -= 1;
      if (!client.destroyed) client.write(chunk);
    }, at - performance.now());
  };
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const proxy: TcpProxy = {
    port: address.port,
    isShut: false,
    delayMs: 0,
    get isStalled() {
      return isStalled;
    },
    set isStalled(value) {
      isStalled = value;
      if (value) return;
      for (const [client, chunks] of stalled) for (const chunk of chunks) pass(client, chunk);
      stalled.clear();
    },
    get held() {
      return held;
    },
    cut() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    loseAnswerTo(text, after = 0) {
      trigger = text;
      toPass = after;
    },
    loseRequestWith(text) {
      unwanted = text;
    },
    get isLossDue() {
      return trigger !== undefined;
    },
    spare() {
      trigger = undefined;
    },
    freeze(text) {
      const now = { text, kept: [] as (() => void)[] };
      frozen = now;
      return () => {
        if (frozen === now) frozen = undefined;
        for (const goOn of now.kept.splice(0)) goOn();
      };
    },
    get lost() {
      return lost;
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
  return proxy;
}
