/**
 * How a verb reaches Redis: runs the command once `redis-connection.ts` has a connection, tries again while the call's
 * deadline allows, and turns what failed into a `SessionError`. Keeps the clock in step. Knows nothing of records;
 * `redis.ts` calls it.
 *
 * Every command that goes through here may be repeated: a read, and scripts that recognise their own earlier run.
 * Nothing rests in ioredis's offline queue, where it would start after the caller gave up.
 */
import { SessionError } from "../errors.ts";
import { mayBeResent, type RedisCommands } from "./redis-client.ts";
import { reportServer } from "./redis-client-check.ts";
import type { RedisClock } from "./redis-clock.ts";
import { RedisConnection } from "./redis-connection.ts";
import { doubtsOf, type RedisDoubts } from "./redis-doubts.ts";
import { isPassing, isRedirection, isUnsent, outOfReach, refused, replyCode } from "./redis-failures.ts";
import { RedisTurn } from "./redis-gather.ts";
import type { RedisLanes } from "./redis-lanes.ts";
import type { Script } from "./redis-scripts.ts";
import type { TrackedCall } from "./tracking.ts";
import { atMost, pause } from "./waits.ts";

const firstPauseMs = 10;
const longestPauseMs = 100;

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
  /** Whether a turn's commands leave in one write. @default false */
  gathers?: boolean;
  /** Tracked connections, for a near cache: each call tries one of them first. */
  lanes?: RedisLanes | undefined;
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
  readonly #connection: RedisConnection;
  /** `undefined`: no Cluster. */
  readonly #doubts: RedisDoubts | undefined;
  #syncing: Promise<void> | undefined;
  #isClosed = false;

  /** Asks for the time as soon as the connection is there. */
  constructor(client: RedisCommands, settings: LinkSettings) {
    this.#client = client;
    this.#isOwn = settings.isOwn;
    this.#clock = settings.clock;
    this.#lanes = settings.lanes;
    this.#runScript = settings.runScript;
    this.#turn = new RedisTurn(client, settings.gathers === true);
    this.#connection = new RedisConnection(client, () => this.#begin());
    this.#doubts = doubtsOf(client);
    if (this.#connection.failovers !== undefined) this.#lanes?.heed(this.#connection.failovers);
    if (client.status === "ready") this.#begin();
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
    this.#connection.expectOpen();
    let failure: unknown;
    let isRepeated = false;
    let sentAt = 0;
    // Once a call: whatever fails there, the usual connection decides.
    let lane = this.#lanes?.of(key);
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      const era = lane?.era;
      const client = (era && lane?.client) ?? this.#client;
      try {
        const isReady = client === this.#client ? this.#connection.isUsable : client.status === "ready";
        if (!isReady) await this.#connection.becomeReady(call.deadline);
        if (this.#doubts?.concern(key)) await this.#doubts.check(key);
        if (this.#clock?.stale) await this.#keepTime(call.deadline);
        if (performance.now() >= call.deadline) break;
        sentAt = performance.now();
        this.#turn.add(client, key, call, era);
        const answer = await command(client, isRepeated);
        if (this.#connection.failovers?.hasGivenUpSince(sentAt) !== true) return answer;
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
        if (replyCode(error) === "READONLY") this.#connection.leaveReplica(sentAt);
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
    if (this.#runScript === undefined) isRepeated ||= mayBeResent(this.#client, attemptAt, this.#connection.readyAt);
    return { reply, isRepeated, attemptAt };
  }

  /** Removes the listeners. An own client is closed. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#lanes?.close();
    await this.#connection.close(this.#isOwn);
  }

  /** A connection is there. */
  #begin(): void {
    if (this.#runScript === undefined) void reportServer(this.#client); // a second connection has nothing new to say
    // Its failure shows in the verb that needs the time.
    if (this.#clock !== undefined) this.#askTime(this.#clock).catch(() => undefined);
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
