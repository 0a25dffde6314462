/**
 * When a command leaves. The commands of one turn of the event loop leave in one write: a system call for all of them,
 * not for each. Done by corking the connection until the turn ends; the commands stay ioredis's own, one by one.
 * ioredis's auto-pipelining saves the same calls, but sends nothing more until the last turn's answers are back
 * (decision 0040). For clients of the store's own: `redis-client.ts` names them. `redis-link.ts` calls it before each
 * command.
 */
import type { Era, TrackedCall } from "./tracking.ts";

const gathering = new WeakSet<object>();

/** What is used of a socket, TLS or not. */
interface Corkable {
  cork(): void;
  uncork(): void;
}

/** From now on the store gathers what it sends by this client, and by the near cache's duplicates of it. */
export function gatherWrites(client: object): void {
  gathering.add(client);
}

/** What one link sends in a turn. */
export class RedisTurn {
  readonly #isGathering: boolean;
  /** Whether a command leaves at the end of the turn, by us or by ioredis. */
  readonly #isHeldBack: boolean;
  #leaving: { call: TrackedCall; era: Era | undefined }[] = [];
  #corked: Corkable[] = [];
  #isDue = false;

  constructor(client: { readonly options: object }) {
    this.#isGathering = gathering.has(client);
    this.#isHeldBack = this.#isGathering || Reflect.get(client.options, "enableAutoPipelining") === true;
  }

  /** A command of `call` is given to `client` next. Its caller is told when it leaves, which may be at once. */
  add(client: object, call: TrackedCall, era: Era | undefined): void {
    if (!this.#isHeldBack) {
      call.onSent?.(era);
      return;
    }
    if (this.#isGathering) this.#cork(client);
    if (call.onSent !== undefined) this.#leaving.push({ call, era });
    // One turn's worth at a time: a timer for each costs more than what it saves. Not a tick of `process.nextTick`, which
    // ends with each request that came: the requests of one turn would not be gathered.
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(this.#end);
  }

  /** The connection of now: after a reconnect it is another one. */
  #cork(client: object): void {
    const stream: unknown = Reflect.get(client, "stream");
    if (!isCorkable(stream) || this.#corked.includes(stream)) return;
    stream.cork();
    this.#corked.push(stream);
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
