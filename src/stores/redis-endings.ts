/**
 * Endings over Redis's publish and subscribe: the scripts publish in the step that ends a record, on `<prefix>ended`;
 * who listens has a connection of its own (`redis-subscriber.ts`). Lost messages are Redis's rule, not an
 * exception: each time the connection is made anew the listener is told to look again. `redis.ts` makes it.
 */
import { setTimeout as delay } from "node:timers/promises";
import { debuglog } from "node:util";
import type { Ending, EndingListener, Endings } from "../endings.ts";
import type { EndReason } from "../store.ts";
import type { RedisCommands } from "./redis-client.ts";
import { isDenied } from "./redis-failures.ts";
import { answerWithinMs, openSubscriber } from "./redis-subscriber.ts";
import { within } from "./waits.ts";

const log = debuglog("holdfast");
const pingEveryMs = 5_000;
const longestPauseMs = 2_000;

/** The clients whose user may not subscribe, as was reported. */
const denied = new WeakSet<object>();

/** One message: a key and a reason. */
export function endingMessage(key: string, reason: Ending["reason"]): string {
  return `${key} ${reason}`;
}

/** The endings of one store. */
export class RedisEndings implements Endings {
  readonly #client: RedisCommands;
  readonly #channel: string;

  constructor(client: RedisCommands, channel: string) {
    this.#client = client;
    this.#channel = channel;
  }

  listen(listener: EndingListener): () => Promise<void> {
    const stopped = new AbortController();
    const running = this.#run(listener, stopped.signal);
    return async () => {
      stopped.abort();
      await running;
    };
  }

  async #run(listener: EndingListener, signal: AbortSignal): Promise<void> {
    let pauseMs = 50;
    while (!signal.aborted) {
      const began = performance.now();
      await this.#subscribe(listener, signal).catch((error: unknown) => {
        log("redis subscriber: %s", error);
        if (isDenied(error)) this.#warn();
      });
      // A connection that stood for a while is replaced at once.
      pauseMs = performance.now() - began > longestPauseMs ? 50 : Math.min(pauseMs * 2, longestPauseMs);
      if (!signal.aborted) await delay(pauseMs, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  /** It is tried on: an ACL can be mended while we run. */
  #warn(): void {
    if (denied.has(this.#client)) return;
    denied.add(this.#client);
    process.emitWarning(
      `Redis denies the listener, so that ends on other nodes are not told here ("destroyed", watch()): allow its ACL user +subscribe +publish +ping and the channel &${this.#channel}`,
      { type: "HoldfastWarning", code: "HOLDFAST_REDIS_CHANNEL" },
    );
  }

  /** One connection, from its beginning to its end. */
  async #subscribe(listener: EndingListener, signal: AbortSignal): Promise<void> {
    const subscriber = await within(openSubscriber(this.#client), answerWithinMs);
    const stop = (): void => subscriber.close();
    signal.addEventListener("abort", stop);
    let ping: NodeJS.Timeout | undefined;
    try {
      if (signal.aborted) return;
      const isHeard = await Promise.race([
        subscriber.subscribe(this.#channel, (text) => tell(listener, text)).then(() => true),
        subscriber.ended.then(() => false),
      ]);
      if (!isHeard) return;
      listener.listening();
      // A connection may be dead without a word.
      const look = (): void => (subscriber.mayMiss ? listener.listening() : undefined);
      ping = setInterval(() => within(subscriber.ping(), answerWithinMs).then(look).catch(stop), pingEveryMs);
      ping.unref();
      await subscriber.ended;
    } finally {
      clearInterval(ping);
      signal.removeEventListener("abort", stop);
      subscriber.close();
    }
  }
}

const reasons: ReadonlySet<string> = new Set<Ending["reason"]>([
  ...(["logout", "rotated", "renewed", "revoked", "evicted", "expired"] satisfies EndReason[]),
  "moved",
]);

function tell(listener: EndingListener, text: string): void {
  const [key, reason] = text.split(" ", 2);
  // The set holds every reason and nothing else; another version's counts as the strictest.
  if (key) listener.ended({ key, reason: reasons.has(reason ?? "") ? (reason as Ending["reason"]) : "revoked" });
}
