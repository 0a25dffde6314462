/**
 * How a verb reaches Redis: waits for the connection, runs the command, tries again while the call's deadline allows,
 * and turns what failed into a `SessionError`. Keeps the clock in step. Knows nothing of records; `redis.ts` calls it.
 *
 * Every command that goes through here may be repeated: a read, and scripts that recognise their own earlier run.
 * Nothing rests in ioredis's offline queue, where it would start after the caller gave up.
 *
 * Budget: when a command may be sent, and whether its answer counts, is one decision; half of it elsewhere is half read.
 */
import { SessionError } from "../errors.ts";
import { endClient, isGivenUp, mayBeResent, type RedisCommands, wakeClient } from "./redis-client.ts";
import { reportServer } from "./redis-client-check.ts";
import type { RedisClock } from "./redis-clock.ts";
import { doubtsOf, type RedisDoubts } from "./redis-doubts.ts";
import { type FailoverWatch, isUsable, watchFailovers } from "./redis-failover.ts";
import { closed, isPassing, isRedirection, isUnsent, outOfReach, refused, replyCode } from "./redis-failures.ts";
import { RedisTurn } from "./redis-gather.ts";
import type { RedisLanes } from "./redis-lanes.ts";
import type { Script } from "./redis-scripts.ts";
import type { TrackedCall } from "./tracking.ts";
import { atMost, pause } from "./waits.ts";

const firstPauseMs = 10;
const longestPauseMs = 100;
const quitWithinMs = 500;
/** So long a client may pause before it connects again, while somebody waits for it. */
const wakeAfterMs = 250;

/** What a script answered. */
export interface ScriptReply {
  outcome: number;
  now: number;
  record: Buffer | undefined;
  /** An earlier run of this very call got no answer, and may have been applied. */
  isRepeated: boolean;
}

/** Another way for a script to reach Redis than by this client: it does what NOSCRIPT asks for by itself. */
export type RunScript = (
  script: Script,
  keys: readonly string[],
  args: readonly (string | Buffer)[],
  call: TrackedCall,
) => Promise<unknown>;

/** What a link is made for. */
export interface LinkSettings {
  /** Whether the client is the store's own, to be closed with it. */
  isOwn: boolean;
  /** `undefined`: the store was given a clock, nothing to keep in step. */
  clock: RedisClock | undefined;
  /** Tracked connections, for a near cache: each call tries one of them first. */
  lanes?: RedisLanes;
  runScript?: RunScript;
}

/** One store's use of its client. */
export class RedisLink {
  readonly #client: RedisCommands;
  readonly #isOwn: boolean;
  readonly #clock: RedisClock | undefined;
  readonly #lanes: RedisLanes | undefined;
  readonly #runScript: RunScript | undefined;
  readonly #turn: RedisTurn;
  /** `undefined`: no Sentinels. */
  readonly #failovers: FailoverWatch | undefined;
  /** `undefined`: no Cluster. */
  readonly #doubts: RedisDoubts | undefined;
  readonly #waiting = new Set<() => void>();
  #syncing: Promise<void> | undefined;
  #isClosed = false;
  /** When the connection was last ready, on the scale of `performance.now()`. */
  #readyAt = 0;
  #wokenAt = 0;
  /** Whether the connection was closed since the client last set out to connect. */
  #wasClosed: boolean;

  /** Listens for `ready` and `end`, and asks for the time as soon as the connection is there. */
  constructor(client: RedisCommands, settings: LinkSettings) {
    this.#client = client;
    this.#isOwn = settings.isOwn;
    this.#clock = settings.clock;
    this.#lanes = settings.lanes;
    this.#runScript = settings.runScript;
    this.#turn = new RedisTurn(client);
    this.#failovers = watchFailovers(client, () => this.#wake());
    this.#doubts = doubtsOf(client);
    if (this.#failovers !== undefined) this.#lanes?.heed(this.#failovers);
    this.#wasClosed = client.status === "end";
    client.on("connecting", this.#onConnecting);
    client.on("ready", this.#onReady);
    client.on("close", this.#onClose);
    client.on("end", this.#wake);
    if (client.status === "ready") this.#onReady();
  }

  /**
   * Runs one command of a verb.
   * @throws {SessionError} `ERR_SESSION_STORE` when Redis stayed out of reach until the deadline, or refused
   */
  async run<T>(
    verb: string,
    key: string,
    call: TrackedCall,
    command: (client: RedisCommands, isRepeated: boolean) => Promise<T>,
  ): Promise<T> {
    if (this.#isClosed) throw closed("the store was closed");
    let failure: unknown;
    let isRepeated = false;
    let sentAt = 0;
    // Once a call: whatever fails there, the usual connection decides.
    let lane = this.#lanes?.of(key);
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      const era = lane?.era;
      const client = (era && lane?.client) ?? this.#client;
      try {
        const isReady = client === this.#client ? isUsable(client, this.#failovers) : client.status === "ready";
        if (!isReady) await this.#becomeReady(call.deadline);
        if (this.#doubts?.concern(key)) await this.#doubts.check(key);
        if (this.#clock?.stale) await this.#keepTime(call.deadline);
        if (performance.now() >= call.deadline) break;
        sentAt = performance.now();
        this.#turn.add(client, call, era);
        const answer = await command(client, isRepeated);
        if (this.#failovers?.hasGivenUpSince(sentAt) !== true) return answer;
        // What it answers, its successor may not have: done again there, and recognised if it has.
        throw new Error("its master was given up meanwhile");
      } catch (error) {
        if (error instanceof SessionError) throw error;
        // No reply: the command may have been applied all the same.
        if (replyCode(error) === undefined && !isUnsent(error)) {
          isRepeated = true;
          this.#doubts?.add(key);
        }
        failure = error;
        if (era !== undefined) lane?.failed(era, error);
        lane = undefined;
        if (era !== undefined && (isPassing(error) || isRedirection(error))) continue;
        if (replyCode(error) === "READONLY") this.#leaveReplica(sentAt);
        if (!isPassing(error)) throw refused(verb, error);
      }
      if (performance.now() + pauseMs >= call.deadline) break;
      await pause(pauseMs);
    }
    throw outOfReach(verb, failure);
  }

  /** Runs a script on one key. */
  async script(
    verb: string,
    key: string,
    call: TrackedCall,
    script: Script,
    args: readonly (string | Buffer)[],
  ): Promise<ScriptReply> {
    const { reply, isRepeated, attemptAt } = await this.evaluate(verb, call, script, [key], args);
    // The shape is the scripts' own: `{ outcome, now, record? }`. Integers may come as text (`stringNumbers`).
    const [outcome, now, record] = reply as [unknown, unknown, Buffer | null | undefined];
    const told = Number(String(now));
    this.#clock?.sample(told, attemptAt, performance.now());
    return { outcome: Number(String(outcome)), now: told, record: record ?? undefined, isRepeated };
  }

  /** Runs any script on keys of one slot. A Redis that doesn't know it (restart, failover, SCRIPT FLUSH) is given its source. */
  async evaluate(
    verb: string,
    call: TrackedCall,
    script: Script,
    keys: readonly string[],
    args: readonly (string | Buffer)[],
  ): Promise<{ reply: unknown; isRepeated: boolean; attemptAt: number }> {
    let attemptAt = 0;
    let isRepeated = false;
    const reply = await this.run(verb, keys[0] ?? "", call, async (client, isAgain) => {
      attemptAt = performance.now();
      isRepeated = isAgain;
      if (this.#runScript !== undefined) return this.#runScript(script, keys, args, call);
      try {
        return await client.evalshaBuffer(script.sha, keys.length, ...keys, ...args);
      } catch (error) {
        if (replyCode(error) !== "NOSCRIPT" || performance.now() >= call.deadline) throw error;
        attemptAt = performance.now();
        return await client.evalBuffer(script.lua, keys.length, ...keys, ...args);
      }
    });
    if (this.#runScript === undefined) isRepeated ||= mayBeResent(this.#client, attemptAt, this.#readyAt);
    return { reply, isRepeated, attemptAt };
  }

  /** Removes the listeners. An own client is closed: politely where Redis answers, and within half a second. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#client.off("connecting", this.#onConnecting);
    this.#client.off("ready", this.#onReady);
    this.#client.off("close", this.#onClose);
    this.#client.off("end", this.#wake);
    this.#lanes?.close();
    this.#failovers?.close();
    this.#wake();
    if (!this.#isOwn) return;
    if (this.#client.status === "ready") {
      // A failure to say goodbye is nobody's concern: the connection is cut in any case.
      const goodbye = this.#client.quit().catch(() => undefined);
      await atMost(goodbye, quitWithinMs);
    }
    endClient(this.#client);
  }

  readonly #wake = (): void => {
    for (const wake of this.#waiting) wake();
  };

  readonly #onConnecting = (): void => {
    this.#wasClosed = false;
  };

  readonly #onClose = (): void => {
    this.#wasClosed = true;
  };

  readonly #onReady = (): void => {
    this.#readyAt = performance.now();
    this.#wake();
    if (this.#runScript === undefined) void reportServer(this.#client); // a second connection has nothing new to say
    // Its failure shows in the verb that needs the time.
    if (this.#clock !== undefined) this.#askTime(this.#clock).catch(() => undefined);
  };

  /**
   * The master behind this connection became a replica: connects again, to where Sentinel or the name leads now. Once a
   * connection, and not in a Cluster, whose nodes say MOVED.
   */
  #leaveReplica(sentAt: number): void {
    if (Reflect.get(this.#client, "isCluster") === true) return;
    if (this.#client.status === "ready" && this.#readyAt <= sentAt) this.#client.disconnect(true);
    // An answer of before that comes after this is of the same connection.
    this.#readyAt = performance.now();
  }

  async #becomeReady(deadline: number): Promise<void> {
    for (;;) {
      if (this.#isClosed) throw closed("the store was closed");
      const { status } = this.#client;
      if (isUsable(this.#client, this.#failovers)) return;
      if (status === "end" && (this.#wasClosed || !isGivenUp(this.#client)))
        throw closed("its connection was ended and will not come back by itself");
      // A lazy client connects at its first command. Failures come back as a state.
      if (status === "wait" || status === "end") this.#client.connect().catch(() => undefined);
      const now = performance.now();
      if (status === "reconnecting" && now - this.#wokenAt >= wakeAfterMs) {
        this.#wokenAt = now;
        wakeClient(this.#client);
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

  /** The first time is waited for; later ones are asked for in passing. */
  async #keepTime(deadline: number): Promise<void> {
    const clock = this.#clock;
    if (clock === undefined) return;
    const asked = this.#askTime(clock);
    if (clock.synced) asked.catch(() => undefined);
    else await atMost(asked, deadline - performance.now());
  }

  /** One question at a time. */
  #askTime(clock: RedisClock): Promise<void> {
    this.#syncing ??= this.#readTime(clock).finally(() => {
      this.#syncing = undefined;
    });
    return this.#syncing;
  }

  async #readTime(clock: RedisClock): Promise<void> {
    const sentAt = performance.now();
    // TIME answers [seconds, microseconds], as text or as numbers.
    const [seconds, micros] = (await this.#client.time()) as [unknown, unknown];
    const toldMs = Number(String(seconds)) * 1_000 + Math.floor(Number(String(micros)) / 1_000);
    clock.sample(toldMs, sentAt, performance.now());
  }
}
