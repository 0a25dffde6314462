/**
 * Writes that replicas confirm, on one connection: what waits is sent together, then one `WAIT` for all of it; what comes
 * meanwhile is the next group. WAIT blocks its connection and speaks of what that connection wrote, so that this one is
 * used for nothing else. Knows nothing of records; `redis-durability.ts` calls it.
 *
 * The replication stream has one order: a replica that has a connection's last write has all that Redis wrote before.
 */
import { replyCode } from "./redis-failures.ts";
import type { OwnConnection } from "./redis-own.ts";
import { outcome, type Script } from "./redis-scripts.ts";

/** A script to run on one key. */
export interface ConfirmedWrite {
  script: Script;
  key: string;
  args: readonly (string | Buffer)[];
  /** Monotonic ms: it must not start after that. */
  deadline: number;
  /** The node serves the key's slot only when asked to: it is being moved there. */
  isAsking: boolean;
}

/** What a write came to. */
export interface Confirmed {
  /** The script's answer. */
  reply: unknown;
  /** How many replicas have it; `undefined`: it wrote nothing that needs one. */
  replicas: number | undefined;
}

interface Waiting extends ConfirmedWrite {
  isBySource: boolean;
  resolve(confirmed: Confirmed): void;
  reject(error: unknown): void;
}

/** The outcomes of a script that wrote. */
const written: ReadonlySet<number> = new Set([outcome.done, outcome.otherType, outcome.standing]);

/** One connection's groups. */
export class GroupCommit {
  readonly #connection: OwnConnection;
  readonly #replicas: number;
  readonly #timeoutMs: number;
  #waiting: Waiting[] = [];
  #isBusy = false;

  /** `replicas`: so many are waited for, at most `timeoutMs`. */
  constructor(connection: OwnConnection, need: { replicas: number; timeoutMs: number }) {
    this.#connection = connection;
    this.#replicas = need.replicas;
    this.#timeoutMs = need.timeoutMs;
  }

  /** Runs a script in the next group. Rejects as ioredis does, and where the connection is not there. */
  async run(write: ConfirmedWrite): Promise<Confirmed> {
    try {
      return await this.#join(write, false);
    } catch (error) {
      if (replyCode(error) !== "NOSCRIPT") throw error;
      return this.#join(write, true);
    }
  }

  #join(write: ConfirmedWrite, isBySource: boolean): Promise<Confirmed> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...write, isBySource, resolve, reject });
      if (this.#isBusy) return;
      this.#isBusy = true;
      // What arrives in the same turn of the event loop goes along.
      setImmediate(() => void this.#commitAll());
    });
  }

  async #commitAll(): Promise<void> {
    while (this.#waiting.length > 0) await this.#commit(this.#waiting.splice(0));
    this.#isBusy = false;
  }

  /** Never rejects: each write has its own end. */
  async #commit(group: readonly Waiting[]): Promise<void> {
    const now = performance.now();
    const due = group.filter(({ deadline }) => deadline > now);
    for (const late of group.filter((write) => !due.includes(write)))
      late.reject(new Error("waited too long to start"));
    const { status } = this.#connection;
    if (status !== "ready") {
      // Nothing rests in ioredis's offline queue, where it would start after its caller gave up.
      for (const write of due) write.reject(new Error(`no connection for durable writes (${status})`));
      return;
    }
    if (due.length === 0) return;
    const latest = Math.max(...due.map(({ deadline }) => deadline));
    const answers = due.map((write) => this.#send(write));
    // Zero would wait for ever.
    const withinMs = Math.max(1, Math.ceil(Math.min(this.#timeoutMs, latest - now)));
    const confirmed = this.#connection.wait(this.#replicas, withinMs).then((count) => Number(String(count)));
    // A group of refusals alone does not look at it; the next group must not be sent behind it all the same.
    const isOver = confirmed.catch(() => undefined);
    await Promise.all(due.map((write, index) => settle(write, answers[index], confirmed)));
    await isOver;
  }

  #send({ script, key, args, isAsking, isBySource }: Waiting): Promise<unknown> {
    if (isAsking) this.#connection.asking().catch(() => undefined);
    return isBySource
      ? this.#connection.evalBuffer(script.lua, 1, key, ...args)
      : this.#connection.evalshaBuffer(script.sha, 1, key, ...args);
  }
}

async function settle(write: Waiting, answer: Promise<unknown> | undefined, confirmed: Promise<number>): Promise<void> {
  try {
    const reply = await answer;
    const isWritten = Array.isArray(reply) && written.has(Number(String(reply[0])));
    write.resolve({ reply, replicas: isWritten ? await confirmed : undefined });
  } catch (error) {
    write.reject(error);
  }
}
