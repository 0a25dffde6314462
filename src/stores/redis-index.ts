/**
 * The principal index in Redis: a sorted set a user, `<prefix>p:{<digest>}`, changed by one script a verb. Its slot in a
 * Cluster is another than its sessions', so nothing here is one step with a record: the port says in which order the
 * engine takes them. `redis.ts` makes it; the scripts are in `redis-index-scripts.ts`.
 */
import type { Entered, Entering, IndexEntry, PrincipalIndex } from "../principal-index.ts";
import type { StoreCall } from "../store.ts";
import {
  barScript,
  confirmScript,
  enterScript,
  indexOutcome,
  listScript,
  pruneNamesScript,
  refreshScript,
  removeNamesScript,
} from "./redis-index-scripts.ts";
import type { RedisLink } from "./redis-link.ts";
import type { Script } from "./redis-scripts.ts";

/** From so many names on, some are handed out to be looked at. */
const sampleFrom = 16;
const sampleSize = 4;

/** What the scripts need of their store. */
export interface IndexSettings {
  link: RedisLink;
  prefix: string;
  /** What the scripts take for the time: `""` is Redis's own. */
  scriptTime: () => string;
}

/** Which sessions are whose, in Redis. */
export class RedisIndex implements PrincipalIndex {
  readonly #settings: IndexSettings;

  constructor(settings: IndexSettings) {
    this.#settings = settings;
  }

  async enter(owner: string, entry: Entering, call: StoreCall): Promise<Entered> {
    const { id, until, beganAt, replaces = "", most = 0 } = entry;
    const args = [id, String(until), String(beganAt), replaces, String(most), String(sampleFrom), String(sampleSize)];
    const { outcome, entries } = await this.#run(owner, call, enterScript, args);
    if (outcome === indexOutcome.barred) return { outcome: "barred" };
    return outcome === indexOutcome.full ? { outcome: "full", entries } : { outcome: "entered", sample: entries };
  }

  async confirm(
    owner: string,
    entry: { id: string; until: number; replaces?: string },
    call: StoreCall,
  ): Promise<boolean> {
    const args = [entry.id, String(entry.until), entry.replaces ?? ""];
    return (await this.#run(owner, call, confirmScript, args)).outcome === indexOutcome.done;
  }

  async refresh(owner: string, entry: { id: string; until: number }, call: StoreCall): Promise<void> {
    await this.#run(owner, call, refreshScript, [entry.id, String(entry.until)]);
  }

  async list(owner: string, call: StoreCall): Promise<IndexEntry[]> {
    return (await this.#run(owner, call, listScript, [])).entries;
  }

  async bar(owner: string, bar: { until: number; except?: string }, call: StoreCall): Promise<IndexEntry[]> {
    return (await this.#run(owner, call, barScript, [String(bar.until), bar.except ?? ""])).entries;
  }

  async prune(owner: string, names: readonly string[], call: StoreCall): Promise<void> {
    if (names.length > 0) await this.#run(owner, call, pruneNamesScript, names);
  }

  async remove(owner: string, names: readonly string[], call: StoreCall): Promise<void> {
    if (names.length > 0) await this.#run(owner, call, removeNamesScript, names);
  }

  async #run(
    owner: string,
    call: StoreCall,
    script: Script,
    args: readonly string[],
  ): Promise<{ outcome: number; entries: IndexEntry[] }> {
    const { link, prefix, scriptTime } = this.#settings;
    const set = `${prefix}p:{${owner}}`;
    const { reply } = await link.evaluate("index", call, script, [set, `${set}:bar`], [scriptTime(), ...args]);
    // The shape is the scripts' own: `{ outcome, now, [name, score, …]? }`. Integers may come as text.
    const [outcome, , flat] = reply as [unknown, unknown, unknown[] | undefined];
    return { outcome: Number(String(outcome)), entries: entriesOf(flat ?? []) };
  }
}

/** Names and scores in turn. */
function entriesOf(flat: readonly unknown[]): IndexEntry[] {
  const entries: IndexEntry[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const name = String(flat[at]);
    const [id = "", replaced] = name.split("<", 2);
    entries.push({ name, id, until: Number(String(flat[at + 1])), isConfirmed: replaced === undefined });
  }
  return entries;
}
