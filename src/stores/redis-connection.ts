/**
 * The connection behind a link: whether a command may be sent by it now, the wait until one may, and its end. Follows the
 * client's events, and what the Sentinels say of its master. Sends no command but QUIT. `redis-link.ts` makes it.
 */
import { endClient, isGivenUp, type RedisCommands, wakeClient } from "./redis-client.ts";
import { type FailoverWatch, isUsable, watchFailovers } from "./redis-failover.ts";
import { closed } from "./redis-failures.ts";
import { atMost } from "./waits.ts";

const quitWithinMs = 500;
/** So long a client may pause before it connects again, while somebody waits for it. */
const wakeAfterMs = 250;

/** One client's connection, which comes and goes. */
export class RedisConnection {
  readonly client: RedisCommands;
  /** `undefined`: no Sentinels. */
  readonly failovers: FailoverWatch | undefined;
  readonly #onReady: () => void;
  readonly #waiting = new Set<() => void>();
  #isClosed = false;
  #readyAt = 0;
  #wokenAt = 0;
  /** Whether the connection was closed since the client last set out to connect. */
  #wasClosed: boolean;

  /** Listens from now on. `onReady` is called whenever a connection is there: not yet where there is one already. */
  constructor(client: RedisCommands, onReady: () => void) {
    this.client = client;
    this.#onReady = onReady;
    this.failovers = watchFailovers(client, () => this.#wake());
    this.#wasClosed = client.status === "end";
    client.on("connecting", this.#hearConnecting);
    client.on("ready", this.#hearReady);
    client.on("close", this.#hearClose);
    client.on("end", this.#wake);
    if (client.status === "ready") this.#readyAt = performance.now();
  }

  /** When the connection was last ready, on the scale of `performance.now()`. */
  get readyAt(): number {
    return this.#readyAt;
  }

  /** Whether it is there, and leads to a master that counts. */
  get isUsable(): boolean {
    return isUsable(this.client, this.failovers);
  }

  /**
   * Resolves once it may be used.
   * @throws {SessionError} `ERR_SESSION_STORE` when it will not come back by itself
   * @throws {Error} when it was not there by the deadline
   */
  async becomeReady(deadline: number): Promise<void> {
    for (;;) {
      this.expectOpen();
      const { status } = this.client;
      if (this.isUsable) return;
      if (status === "end" && (this.#wasClosed || !isGivenUp(this.client)))
        throw closed("its connection was ended and will not come back by itself");
      // A lazy client connects at its first command. Failures come back as a state.
      if (status === "wait" || status === "end") this.client.connect().catch(() => undefined);
      const now = performance.now();
      if (status === "reconnecting" && now - this.#wokenAt >= wakeAfterMs) {
        this.#wokenAt = now;
        wakeClient(this.client);
      }
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw new Error(`no connection (${status})`);
      let wake: () => void = () => undefined;
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      this.#waiting.add(wake);
      await atMost(woken, Math.min(leftMs, wakeAfterMs));
      this.#waiting.delete(wake);
    }
  }

  /** @throws {SessionError} `ERR_SESSION_STORE` after `close()` */
  expectOpen(): void {
    if (this.#isClosed) throw closed("the store was closed");
  }

  /**
   * The master behind this connection became a replica: connects again, to where Sentinel or the name leads now. Once a
   * connection, and not in a Cluster, whose nodes say MOVED. `sentAt`: when what was refused had left.
   */
  leaveReplica(sentAt: number): void {
    if (Reflect.get(this.client, "isCluster") === true) return;
    if (this.client.status === "ready" && this.#readyAt <= sentAt) this.client.disconnect(true);
    // An answer of before that comes after this is of the same connection.
    this.#readyAt = performance.now();
  }

  /**
   * Stops listening; who waits is told. With `isOwn` the client is closed: politely where Redis answers, and within half
   * a second.
   */
  async close(isOwn: boolean): Promise<void> {
    this.#isClosed = true;
    this.client.off("connecting", this.#hearConnecting);
    this.client.off("ready", this.#hearReady);
    this.client.off("close", this.#hearClose);
    this.client.off("end", this.#wake);
    this.failovers?.close();
    this.#wake();
    if (!isOwn) return;
    if (this.client.status === "ready") {
      // A failure to say goodbye is nobody's concern: the connection is cut in any case.
      const goodbye = this.client.quit().catch(() => undefined);
      await atMost(goodbye, quitWithinMs);
    }
    endClient(this.client);
  }

  readonly #wake = (): void => {
    for (const wake of this.#waiting) wake();
  };

  readonly #hearConnecting = (): void => {
    this.#wasClosed = false;
  };

  readonly #hearClose = (): void => {
    this.#wasClosed = true;
  };

  readonly #hearReady = (): void => {
    this.#readyAt = performance.now();
    this.#wake();
    this.#onReady();
  };
}
