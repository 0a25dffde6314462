/**
 * Durable writes: what must outlive the loss of the master is confirmed by replicas (`WAIT`) before the call resolves.
 * Sent on connections of their own (one; in a Cluster one a master), as WAIT blocks the connection that it is sent on.
 * `redis.ts` asks which calls are meant and sends them through here; groups are made in `redis-group-commit.ts`.
 *
 * Why a confirmed write is not lost (Redis docs, WAIT): the replica that a failover promotes is one that has it, as long
 * as every replica that may be promoted has it: with `replicas` as many as there are that is certain; with fewer,
 * Sentinel and Cluster prefer the replica that has most of the stream. A master that nobody follows any more (it was hung
 * while another one was promoted) confirms nothing.
 */
import { SessionError } from "../errors.ts";
import type { StoreCall } from "../store.ts";
import type { RedisCommands } from "./redis-client.ts";
import type { RedisClock } from "./redis-clock.ts";
import { type Confirmed, type ConfirmedWrite, GroupCommit } from "./redis-group-commit.ts";
import { RedisLink, type RunScript, type ScriptReply } from "./redis-link.ts";
import { isCluster, NodeConnections, openOwn } from "./redis-own.ts";
import type { Script } from "./redis-scripts.ts";
import { within } from "./waits.ts";

/** The `durability` option of `redisStore`. */
export interface DurabilityOptions {
  /** How many replicas must have a write before its call resolves. @default 1 */
  replicas?: number;
  /**
   * How long they may take, in whole ms from 1. A call may have to wait for the group before its own as well: twice this
   * must fit into the engine's `storeTimeout`. @default 200
   */
  timeout?: number;
  /**
   * Which calls: `"security"`, logins (what the request of a `renew()` or `regenerate()` saves), rotations and ends;
   * `"all"`, every write and touch. @default "security"
   */
  for?: "security" | "all";
  /**
   * What a call comes to that fewer replicas confirmed in time. `"fail"`: it rejects with `ERR_SESSION_UNCONFIRMED`
   * (503); the master has the write, which stands unless a failover undoes it. `"report"`: it resolves, and the
   * `storeError` event has that error. @default "fail"
   */
  onShortfall?: "fail" | "report";
}

/** Redirections that one call follows. */
const mostHops = 4;

/** One store's durable writes. */
export class DurableWrites {
  readonly #link: RedisLink;
  readonly #isForAll: boolean;
  readonly #isStrict: boolean;
  readonly #need: { replicas: number; timeoutMs: number };
  readonly #run: (write: ConfirmedWrite) => Promise<Confirmed>;
  readonly #closeNodes: () => void;
  #hasWarned = false;

  /**
   * Opens what it needs beside `client`, which stays as it is.
   * @throws {SessionError} `ERR_SESSION_OPTION` for a client that can't be duplicated
   */
  constructor(client: RedisCommands, options: DurabilityOptions, clock: RedisClock | undefined) {
    const { replicas = 1, timeout = 200, for: which = "security", onShortfall = "fail" } = options;
    this.#isForAll = which === "all";
    this.#isStrict = onShortfall === "fail";
    this.#need = { replicas, timeoutMs: timeout };
    // The answer to a WAIT may take its whole time; a server that is later than that hangs.
    const own = { commandTimeout: Math.max(500, timeout + 300), socketTimeout: timeout + 1_300 };
    const runScript: RunScript = (script, [key = ""], args, call) => this.#confirm(script, key, args, call);
    if (isCluster(client)) {
      const shards = new NodeConnections(client, own, (connection) => new GroupCommit(connection, this.#need));
      this.#run = (write) => runOnShard(shards, write);
      this.#closeNodes = () => shards.close();
      this.#link = new RedisLink(client, { isOwn: false, clock, runScript });
    } else {
      const connection = openOwn(client, own);
      const commits = new GroupCommit(connection, this.#need);
      this.#run = (write) => commits.run(write);
      this.#closeNodes = () => undefined;
      this.#link = new RedisLink(connection, { isOwn: true, clock, runScript });
    }
  }

  /** Whether a call's writes are to be confirmed. */
  covers(call: StoreCall): boolean {
    return this.#isForAll || call.durable;
  }

  /** As `RedisLink.script`, and confirmed. @throws {SessionError} `ERR_SESSION_UNCONFIRMED`, and what that throws */
  script(
    verb: string,
    key: string,
    call: StoreCall,
    script: Script,
    args: readonly (string | Buffer)[],
  ): Promise<ScriptReply> {
    return this.#link.script(verb, key, call, script, args);
  }

  /** Closes the connections that it opened. */
  async close(): Promise<void> {
    await this.#link.close();
    this.#closeNodes();
  }

  async #confirm(script: Script, key: string, args: readonly (string | Buffer)[], call: StoreCall): Promise<unknown> {
    const { deadline } = call;
    const { reply, replicas } = await this.#run({ script, key, args, deadline, isAsking: false });
    if (replicas === undefined || replicas >= this.#need.replicas) return reply;
    const error = unconfirmed(replicas, this.#need);
    if (this.#isStrict) throw error;
    call.report?.(error);
    this.#warnOnce(error);
    return reply;
  }

  /** The event comes with every call; who listens to none is told once. */
  #warnOnce(error: SessionError): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    process.emitWarning(error.message, { type: "HoldfastWarning", code: "HOLDFAST_UNCONFIRMED" });
  }
}

function unconfirmed(replicas: number, need: { replicas: number; timeoutMs: number }): SessionError {
  return new SessionError(
    "ERR_SESSION_UNCONFIRMED",
    `Redis has the write, but ${replicas} of the ${need.replicas} replicas that durability asks for confirmed it within ${need.timeoutMs} ms: a failover now may undo it; are the replicas connected?`,
  );
}

async function runOnShard(shards: NodeConnections<GroupCommit>, write: ConfirmedWrite): Promise<Confirmed> {
  const key = shards.keyOf(write.key);
  let to = { node: shards.nodesOf(write.key)[0], isAsking: false };
  for (let hop = 0; ; hop++) {
    try {
      if (to.node === undefined) throw new Error("no master of the key's slot is known");
      const { wrapped: commits, opened } = shards.to(to.node);
      await within(opened, write.deadline - performance.now());
      return await commits.run({ ...write, key, isAsking: to.isAsking });
    } catch (error) {
      const redirection = shards.redirection(error);
      // Asked for a slot that is being moved, the client's own view is still right; in every other case it may not be.
      if (redirection?.isAsking !== true) shards.refresh();
      if (redirection === undefined || hop === mostHops) throw error;
      to = redirection;
    }
  }
}
