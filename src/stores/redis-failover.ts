/**
 * Hears of a failover from the Sentinels when it begins, not when it is over. In between, a master that was given up but
 * is back (it hung, or was restarted) still takes writes, says OK, and loses them when it is told to follow the new one:
 * a second or so, in which nobody but the Sentinels knows. `redis-link.ts` sends such a master no command, and
 * `redis-lanes.ts` has no records tracked by it: it reports none of what its successor takes.
 *
 * Where the Sentinels can't be reached, say nothing, or call the servers by names or other addresses (a NAT), everything
 * goes on as without it. Writes nothing, anywhere.
 */
import { Duplex } from "node:stream";
import { debuglog } from "node:util";
import { endClient, type RedisCommands } from "./redis-client.ts";
import { openSentinel, type SentinelConnection } from "./redis-sentinel.ts";

const log = debuglog("holdfast");

/** ioredis's events: the connection is there; its server says that it is ready, which one that hangs never does. */
const connected = ["connect", "ready"] as const;

/** A failover has a leader, who will choose a replica and promote it next, 100 ms or more later. */
const began = "+elected-leader";
/** The leader has promoted a replica; the master is that one as soon as all agree. */
const promoted = "+promoted-slave";
/** The master is another one now. */
const switched = "+switch-master";
/** Nothing came of it. */
const aborted: readonly string[] = [
  "-failover-abort-not-elected",
  "-failover-abort-no-good-slave",
  "-failover-abort-slave-timeout",
];

/** A master that was given up is trusted again when nothing more is heard of it for that long. */
const underWayMs = 5_000;
/** So long a Sentinel that has not heard yet may still name the old master. */
const replacedMs = 10_000;
/** So long the first command waits for what the Sentinels say; after it, as if those that are silent were not there. */
const firstWordMs = 500;

/** Which masters the Sentinels gave up, for one client that they lead to the master. */
export class FailoverWatch {
  readonly #client: RedisCommands;
  readonly #name: string;
  readonly #subscribers: SentinelConnection[] = [];
  /**
   * Until when not to trust a master, by the Sentinel that says so and the master's `host:port`. One is enough: another
   * that is late may still announce as new what this one has given up again.
   */
  readonly #givenUp = new Map<string, number>();

  /**
   * Who is the master by what each Sentinel said of a failover lately; no `to`: it leads one and has promoted nobody yet.
   * Two may lead at once, when their elections crossed: whom the one promoted is not safe until the other agrees.
   */
  readonly #said = new Map<number, { until: number; to?: string }>();
  /** Whom the client was connected to: where the Sentinels call the servers otherwise, what they say can't be compared. */
  readonly #seen = new Set<string>();
  /** Which Sentinels have not said yet whether a failover is under way: one that began before they were listened to. */
  readonly #unheard = new Set<number>();
  readonly #onHeard: () => void;
  readonly #patience: NodeJS.Timeout;
  #heardAt = Number.NEGATIVE_INFINITY;
  readonly #listeners: (() => void)[] = [];

  /** `onHeard` is called when `isInformed` has come true. */
  constructor(client: RedisCommands, onHeard: () => void) {
    this.#client = client;
    this.#onHeard = onHeard;
    const options = new Map<string, unknown>(Object.entries(client.options));
    this.#name = String(options.get("name"));
    const sentinels: unknown = options.get("sentinels");
    for (const sentinel of Array.isArray(sentinels) ? sentinels : []) this.#listen(sentinel, options);
    this.#patience = setTimeout(() => {
      for (const from of this.#unheard) this.#settle(from);
    }, firstWordMs);
    this.#patience.unref();
    for (const event of connected) client.on(event, this.#leave);
    this.#leave();
  }

  /** Whether each Sentinel has said if it is replacing the master; who can't be reached is not waited for. */
  get isInformed(): boolean {
    return this.#unheard.size === 0;
  }

  /** Whether the client's connection leads to a master that was given up. */
  get isReplaced(): boolean {
    return this.hasReplaced(this.#client);
  }

  /** As `isReplaced`, for another connection to the same master. */
  hasReplaced(client: RedisCommands): boolean {
    if (this.#givenUp.size === 0) return false;
    const master = addressOf(client);
    const now = performance.now();
    for (const { until, to } of this.#said.values()) if (until > now && to !== master) return true;
    return this.#subscribers.some((_, from) => (this.#givenUp.get(`${from} ${master}`) ?? 0) > now);
  }

  /**
   * Whether a master was given up since `sentAt` (on the scale of `performance.now()`): an answer to what was sent then
   * may come from one that hung, and executed it on waking.
   */
  hasGivenUpSince(sentAt: number): boolean {
    return this.#heardAt >= sentAt;
  }

  /** Calls `listener` with all that is heard of this master, when it counts already. */
  onNews(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Ends the connections to the Sentinels. */
  close(): void {
    clearTimeout(this.#patience);
    for (const event of connected) this.#client.off(event, this.#leave);
    for (const subscriber of this.#subscribers) endClient(subscriber);
  }

  #listen(sentinel: object, options: ReadonlyMap<string, unknown>): void {
    const subscriber = openSentinel(this.#client, sentinel, options);
    if (subscriber === undefined) return;
    const from = this.#subscribers.push(subscriber) - 1;
    this.#unheard.add(from);
    subscriber.on("error", (error) => log("sentinel: %s", error));
    subscriber.on("message", (channel, words) => this.#hear(from, String(channel), String(words)));
    subscriber.on("ready", () => this.#ask(from, subscriber));
    subscriber.on("close", () => this.#settle(from));
  }

  /** On each connection: what is under way, then what comes. One that subscribes may ask nothing more. */
  #ask(from: number, subscriber: SentinelConnection): void {
    const failed = (error: unknown): void => log("sentinel: %s", error);
    subscriber
      .call("SENTINEL", "MASTER", this.#name)
      .then((answer) => this.#hearState(from, answer), failed)
      .finally(() => this.#settle(from));
    subscriber.subscribe(began, promoted, switched, ...aborted).catch(failed);
  }

  /** It has said what it knows, or is not there to say it. */
  #settle(from: number): void {
    if (this.#unheard.delete(from) && this.isInformed) this.#onHeard();
  }

  /** Names and values in turn. A Sentinel that leads a failover, or wants to, has a flag for it until the switch. */
  #hearState(from: number, answer: unknown): void {
    const fields: readonly unknown[] = Array.isArray(answer) ? answer : [];
    const field = (name: string): string => String(fields[fields.indexOf(name) + 1]);
    if (!field("flags").split(",").includes("failover_in_progress")) return;
    log("sentinel: a failover was under way");
    this.#hearElection(from, `${field("ip")}:${field("port")}`, true);
    this.#leave();
  }

  /**
   * `+switch-master` says: name, old host and port, new host and port. `+promoted-slave`: "slave", its name, host and
   * port, "@", name, old host and port. The others: "master", name, host and port.
   */
  #hear(from: number, channel: string, words: string): void {
    const told = words.split(" ");
    const name = channel === switched ? told[0] : channel === promoted ? told[5] : told[1];
    if (name !== this.#name) return;
    log("sentinel: %s %s", channel, words);
    if (channel === promoted) this.#hearPromoted(from, `${told[2]}:${told[3]}`);
    else if (channel === switched) this.#hearSwitched(from, `${told[1]}:${told[2]}`, `${told[3]}:${told[4]}`);
    else this.#hearElection(from, `${told[2]}:${told[3]}`, channel === began);
    this.#leave();
  }

  #hearPromoted(from: number, to: string): void {
    const said = this.#said.get(from);
    if (said !== undefined) said.to = to;
  }

  #hearSwitched(from: number, old: string, to: string): void {
    this.#givenUp.delete(`${from} ${to}`);
    this.#giveUp(from, old, replacedMs);
    if (this.#seen.has(old) || this.#seen.has(to)) this.#said.set(from, { until: this.#heardAt + replacedMs, to });
  }

  #hearElection(from: number, master: string, hasBegun: boolean): void {
    this.#said.delete(from);
    if (!hasBegun) {
      this.#givenUp.delete(`${from} ${master}`);
      return;
    }
    this.#giveUp(from, master, underWayMs);
    if (this.#seen.has(master)) this.#said.set(from, { until: this.#heardAt + underWayMs });
  }

  #giveUp(from: number, master: string, forMs: number): void {
    this.#heardAt = performance.now();
    this.#givenUp.set(`${from} ${master}`, this.#heardAt + forMs);
  }

  /**
   * What is under way has no answer yet, and must not get one from a master that was given up. One that hangs would not
   * end the connection with us: it is cut, so that the search for the new master begins at once.
   */
  readonly #leave = (): void => {
    const { status } = this.#client;
    if (status === "ready") this.#seen.add(addressOf(this.#client));
    for (const listener of this.#listeners) listener();
    if ((status !== "ready" && status !== "connect") || !this.isReplaced) return;
    const stream: unknown = Reflect.get(this.#client, "stream");
    this.#client.disconnect(true);
    if (stream instanceof Duplex) stream.destroy();
  };
}

/** Watches for a client that Sentinels lead to the master; `undefined`: they don't. `onHeard`: as of `FailoverWatch`. */
export function watchFailovers(client: RedisCommands, onHeard: () => void): FailoverWatch | undefined {
  const options = new Map<string, unknown>(Object.entries(client.options));
  if (!Array.isArray(options.get("sentinels")) || options.get("role") === "slave") return undefined;
  return new FailoverWatch(client, onHeard);
}

/** Whether commands may be sent: the client is connected, and not to a master that was, or may have been, given up. */
export function isUsable(client: RedisCommands, watch: FailoverWatch | undefined): boolean {
  return client.status === "ready" && (watch === undefined || (watch.isInformed && !watch.isReplaced));
}

/** Whom the client is connected to, as Sentinels write it. */
function addressOf(client: RedisCommands): string {
  const stream: unknown = Reflect.get(client, "stream");
  if (typeof stream !== "object" || stream === null) return "";
  const host = String(Reflect.get(stream, "remoteAddress")).replace("::ffff:", "");
  return `${host}:${String(Reflect.get(stream, "remotePort"))}`;
}
