/**
 * When a command leaves. The commands of one turn of the event loop leave in one write: a system call for all of them,
 * not for each. Done by corking the connection until the turn ends; the commands stay ioredis's own, one by one.
 * ioredis's auto-pipelining saves the same calls, but sends nothing more until the last turn's answers are back
 * (decision 0040). In a Cluster each node's connection is corked. For the URL form's client and the near cache's duplicates
 * of it. `redis-link.ts` calls it before each command.
 */
import type { RedisCommands } from "./redis-client.ts";
import { senderOf } from "./redis-shards.ts";
import type { Era, TrackedCall } from "./tracking.ts";

/** What is used of a socket, TLS or not. */
interface Corkable {
  cork(): void;
  uncork(): void;
}

/** What one link sends in a turn. */
export class RedisTurn {
  readonly #isGathering: boolean;
  readonly #isPipelined: boolean;
  #leaving: { call: TrackedCall; era: Era | undefined }[] = [];
  #corked: Corkable[] = [];
  #isDue = false;

  /** `isGathering`: by us; what `client` does by itself shows in its options. */
  constructor(client: { readonly options: object }, isGathering: boolean) {
    this.#isGathering = isGathering;
    this.#isPipelined = Reflect.get(client.options, "enableAutoPipelining") === true;
  }

  /** A command of `call` on `key` is given to `client` next. Its caller is told when it leaves, which may be at once. */
  add(client: RedisCommands, key: string, call: TrackedCall, era: Era | undefined): void {
    const isHeldBack = this.#isGathering ? this.#cork(client, key) : this.#isPipelined;
    if (!isHeldBack) {
      call.onSent?.(era);
      return;
    }
    if (call.onSent !== undefined) this.#leaving.push({ call, era });
    // One turn's worth at a time: a timer for each costs more than what it saves. Not a tick of `process.nextTick`, which
    // ends with each request that came: the requests of one turn would not be gathered.
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(this.#end);
  }

  /** The connection of now: after a reconnect it is another one. Whether it could be corked. */
  #cork(client: RedisCommands, key: string): boolean {
    const sender = senderOf(client, key);
    const stream: unknown = sender === undefined ? undefined : Reflect.get(sender, "stream");
    if (!isCorkable(stream)) return false;
    if (this.#corked.includes(stream)) return true;
    stream.cork();
    this.#corked.push(stream);
    return true;
  }

  readonly #end = (): void => {
    const [left, corked] = [this.#leaving, this.#corked];
    this.#leaving = [];
    this.#corked = [];
    this.#isDue = false;
    try {
      // Before the bytes leave: nobody joins a read that has left.
      for (const { call, era } of left) call.onSent?.(era);
    } finally {
      // One that ended meanwhile takes it without a word.
      for (const stream of corked) stream.uncork();
    }
  };
}

function isCorkable(stream: unknown): stream is Corkable {
  return typeof stream === "object" && stream !== null && "cork" in stream && "uncork" in stream;
}
