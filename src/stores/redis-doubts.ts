/**
 * Masters of a Cluster that are better not written to. One that hung and wakes takes writes at once, while the others hold
 * it to have failed and elect its replica: what it acknowledges in the last moments before that is lost. Unlike a Sentinel
 * no node says when it begins; so a master that gave no answer is asked about, until the others hold it to be up, or
 * another has its slots; and once the one that this process meets for the first time, as it may have been silent before.
 * Sends CLUSTER NODES, and only then. `redis-link.ts` asks before each try.
 */
import { debuglog } from "node:util";
import type { RedisCommands } from "./redis-client.ts";
import { Unsent } from "./redis-failures.ts";
import { type ClusterLike, isCluster } from "./redis-own.ts";
import { shardOf } from "./redis-shards.ts";
import { within } from "./waits.ts";

const log = debuglog("holdfast");

/** So long after its last silence a master is asked about at least: the others hear of it later than its clients. */
const doubtMs = 3_000;
/** And so long at most: by then the others have replaced it, or they won't. */
const patienceMs = 10_000;
const answerMs = 250;
/** An election takes longer than that: an answer is good for so long. */
const freshMs = 50;

/** What the others think of the masters that gave no answer, for one Cluster client. */
export class RedisDoubts {
  readonly #cluster: RedisCommands & ClusterLike;
  /** When it was silent last, by `host:port`. */
  readonly #silentAt = new Map<string, number>();
  readonly #asked = new Map<string, { at: number; isFailing: Promise<boolean> }>();
  readonly #met = new Set<string>();

  constructor(cluster: RedisCommands & ClusterLike) {
    this.#cluster = cluster;
  }

  /** Whether the master that has this key is to be asked about. */
  concern(key: string): boolean {
    const node = shardOf(this.#cluster, key);
    if (node === "") return false;
    if (!this.#met.has(node)) {
      this.#met.add(node);
      // Long ago: the first good word of the others is enough.
      this.#silentAt.set(node, performance.now() - doubtMs);
    }
    return this.#silentAt.has(node);
  }

  /** The master that has this key gave no answer. */
  add(key: string): void {
    const node = shardOf(this.#cluster, key);
    if (node !== "") this.#silentAt.set(node, performance.now());
  }

  /**
   * Resolves when the master that has this key may be sent commands.
   * @throws {Unsent} while it is one of concern, and the others hold it to be down
   */
  async check(key: string): Promise<void> {
    const node = shardOf(this.#cluster, key);
    const silentAt = this.#silentAt.get(node);
    if (silentAt === undefined) return;
    const isFailing = await this.#ask(node);
    const silentMs = performance.now() - silentAt;
    if (silentMs > (isFailing ? patienceMs : doubtMs) && this.#silentAt.get(node) === silentAt) {
      this.#silentAt.delete(node);
      this.#asked.delete(node);
    }
    if (!isFailing || silentMs > patienceMs) return;
    // Another may have its slots already.
    this.#cluster.refreshSlotsCache();
    throw new Unsent(`the others of its Cluster hold ${node} to be down`);
  }

  #ask(node: string): Promise<boolean> {
    const now = performance.now();
    const known = this.#asked.get(node);
    if (known !== undefined && now - known.at < freshMs) return known.isFailing;
    const isFailing = this.#askOthers(node);
    this.#asked.set(node, { at: now, isFailing });
    return isFailing;
  }

  /** One of them is enough: whom it holds to be down may be replaced. Who says nothing holds nothing. */
  async #askOthers(node: string): Promise<boolean> {
    const others = this.#cluster.nodes("master").filter((other) => nameOf(other) !== node);
    const views = others.map((other) => within(tableOf(other), answerMs).catch(() => ""));
    const isDown = (await Promise.all(views)).some((view) => isFailingIn(view, node));
    if (isDown) log("cluster: %s is held to be down", node);
    return isDown;
  }
}

/** Doubts for a Cluster client whose nodes can be asked; `undefined`: it is none. */
export function doubtsOf(client: RedisCommands): RedisDoubts | undefined {
  return isCluster(client) && typeof Reflect.get(client, "nodes") === "function" ? new RedisDoubts(client) : undefined;
}

async function tableOf(node: object): Promise<string> {
  const call: unknown = Reflect.get(node, "call");
  return typeof call === "function" ? String(await call.call(node, "CLUSTER", "NODES")) : "";
}

/** A line says: id, `host:port@bus`, flags, … Flags are `fail?`, by this node alone, and `fail`, by most. */
function isFailingIn(table: string, node: string): boolean {
  const line = table.split("\n").find((each) => each.split(" ")[1]?.startsWith(`${node}@`));
  return line?.split(" ")[2]?.includes("fail") === true;
}

function nameOf(node: { options: object }): string {
  return `${String(Reflect.get(node.options, "host"))}:${String(Reflect.get(node.options, "port"))}`;
}
