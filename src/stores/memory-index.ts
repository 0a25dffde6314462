/** The principal index of the store in memory: a map a user, of names and when they lapse. `memory.ts` makes it. */
import { randomInt } from "node:crypto";
import type { Entered, Entering, IndexEntry, PrincipalIndex } from "../principal-index.ts";

interface Name {
  /** When it lapses. */
  until: number;
  /** Its session was written. */
  isConfirmed: boolean;
}

interface Owned {
  readonly names: Map<string, Name>;
  bar: { at: number; until: number; except: string | undefined } | undefined;
}

/** From so many names on, some are handed out to be looked at. */
const sampleFrom = 16;
const sampleSize = 4;

/** Which sessions are whose, in this process. */
export class MemoryIndex implements PrincipalIndex {
  readonly #now: () => number;
  readonly #owners = new Map<string, Owned>();

  constructor(now: () => number) {
    this.#now = now;
  }

  async enter(owner: string, entry: Entering): Promise<Entered> {
    const owned = this.#owned(owner) ?? this.#begin(owner);
    const { id, replaces, most = 0 } = entry;
    const { bar, names } = owned;
    const isSpared = replaces !== undefined && replaces === bar?.except;
    if (bar !== undefined && entry.beganAt < bar.at && !isSpared) return { outcome: "barred" };
    const replaced = replaces !== undefined && names.has(replaces) ? replaces : "";
    const name = `${id}<${replaced}`;
    const counted = [...names.keys()].filter((other) => !/<./.test(other) && other !== name).length;
    if (most > 0 && replaced === "" && counted >= most) return { outcome: "full", entries: entriesOf(owned) };
    names.set(name, { until: entry.until, isConfirmed: false });
    return { outcome: "entered", sample: names.size < sampleFrom ? [] : sampleOf(owned) };
  }

  async confirm(owner: string, entry: { id: string; until: number; replaces?: string }): Promise<boolean> {
    const { id, until, replaces } = entry;
    const names = this.#owners.get(owner)?.names;
    const wasNew = names?.delete(`${id}<`) === true;
    const wasReplacing = replaces !== undefined && names?.delete(`${id}<${replaces}`);
    // What it replaces was ended and dropped meanwhile: it must not live on as this one.
    if (names === undefined || (wasReplacing && !names.has(replaces))) return false;
    if (!wasNew && !wasReplacing && !names.has(id)) return false;
    names.set(id, { until, isConfirmed: true });
    if (replaces !== undefined) names.delete(replaces);
    return true;
  }

  async refresh(owner: string, { id, until }: { id: string; until: number }): Promise<void> {
    (this.#owned(owner) ?? this.#begin(owner)).names.set(id, { until, isConfirmed: true });
  }

  async list(owner: string): Promise<IndexEntry[]> {
    const owned = this.#owned(owner);
    return owned === undefined ? [] : entriesOf(owned);
  }

  async bar(owner: string, { until, except }: { until: number; except?: string }): Promise<IndexEntry[]> {
    const owned = this.#owned(owner) ?? this.#begin(owner);
    owned.bar = { at: this.#now(), until, except };
    return entriesOf(owned);
  }

  async prune(owner: string, names: readonly string[]): Promise<void> {
    const owned = this.#owners.get(owner);
    const replaced = new Set([...(owned?.names.keys() ?? [])].map((name) => name.split("<", 2)[1]));
    for (const name of names) if (!replaced.has(name)) owned?.names.delete(name);
    this.#owned(owner);
  }

  async remove(owner: string, names: readonly string[]): Promise<void> {
    const owned = this.#owners.get(owner);
    for (const name of names.flatMap((given) => [given, `${given}<`])) owned?.names.delete(name);
    this.#owned(owner);
  }

  /** Drops every name that has lapsed or whose session is none any more, and every owner without names. */
  sweep(isSession: (id: string) => boolean): void {
    for (const [owner, { names }] of this.#owners) {
      const dead = [...names].filter(([name, { isConfirmed }]) => isConfirmed && !isSession(name));
      void this.prune(
        owner,
        dead.map(([name]) => name),
      );
      this.#owned(owner);
    }
  }

  #begin(owner: string): Owned {
    const owned: Owned = { names: new Map(), bar: undefined };
    this.#owners.set(owner, owned);
    return owned;
  }

  /** What an owner has now; `undefined`, and forgotten: nothing. */
  #owned(owner: string): Owned | undefined {
    const owned = this.#owners.get(owner);
    if (owned === undefined) return undefined;
    const now = this.#now();
    for (const [name, { until }] of owned.names) if (now >= until) owned.names.delete(name);
    if (owned.bar !== undefined && now >= owned.bar.until) owned.bar = undefined;
    if (owned.names.size > 0 || owned.bar !== undefined) return owned;
    this.#owners.delete(owner);
    return undefined;
  }
}

function entriesOf({ names }: Owned): IndexEntry[] {
  const entries = [...names].map(([name, { until, isConfirmed }]) => ({
    name,
    id: name.split("<", 1).join(),
    until,
    isConfirmed,
  }));
  return entries.sort((a, b) => a.until - b.until);
}

function sampleOf(owned: Owned): IndexEntry[] {
  const entries = entriesOf(owned);
  const sample = new Set<IndexEntry>();
  for (let drawn = 0; drawn < sampleSize; drawn++) {
    const entry = entries[randomInt(entries.length)];
    if (entry !== undefined) sample.add(entry);
  }
  return [...sample];
}
