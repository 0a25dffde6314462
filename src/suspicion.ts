/**
 * Guessing detection (OWASP Session Management, "session id guessing and brute force detection"): counts, per address,
 * the cookies that are no session, and names the address in a `suspicious` event. Memory is bounded whoever comes: the
 * least recent of 10 000 addresses is forgotten. It blocks nobody: that is the app's, or its proxy's, to do.
 */
import { isIP } from "node:net";
import { LRUCache } from "lru-cache";
import type { Events, RejectReason } from "./events.ts";

/** About 2 MB. */
const mostAddresses = 10_000;

interface Count {
  since: number;
  malformed: number;
  badSignature: number;
  unknown: number;
  /** The count at which the address is named next. */
  next: number;
}

/** The counters of one engine. */
export class Suspicion {
  readonly #events: Events;
  readonly #after: number;
  readonly #withinMs: number;
  readonly #now: () => number;
  #counts: LRUCache<string, Count> | undefined;

  /** `now`: any clock in ms; spans are measured with it. */
  constructor(events: Events, option: { after: number; withinMs: number }, now: () => number) {
    this.#events = events;
    this.#after = option.after;
    this.#withinMs = option.withinMs;
    this.#now = now;
  }

  /** Counts one cookie that is no session. Nothing is kept while nobody listens. */
  note(reason: RejectReason, address: string | undefined): void {
    if (reason === "garbage" || address === undefined || !this.#events.has("suspicious")) return;
    this.#counts ??= new LRUCache({ max: mostAddresses });
    const network = networkOf(address);
    const now = this.#now();
    let count = this.#counts.get(network);
    // A clock that was set back must not keep a count for ever.
    if (count === undefined || Math.abs(now - count.since) >= this.#withinMs) {
      count = { since: now, malformed: 0, badSignature: 0, unknown: 0, next: this.#after };
      this.#counts.set(network, count);
    }
    count[reason === "bad-signature" ? "badSignature" : reason]++;
    const { since, next, ...counts } = count;
    if (counts.malformed + counts.badSignature + counts.unknown < next) return;
    // Told again at each doubling: a flood must not become one of events.
    count.next = next * 2;
    this.#events.emit("suspicious", { address: network, since, ...counts });
  }
}

/** An IPv4 address, or the /64 of an IPv6 one, within which one client has all addresses it likes. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (isIP(address) !== 6) return address.slice(0, 64);
  const [plain = ""] = address.split("%", 1);
  const [head = "", tail] = plain.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const missing = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...Array<string>(missing).fill("0"), ...right].slice(0, 4);
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(":")}::/64`;
}
