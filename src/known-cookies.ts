/**
 * Cookie values that this process has verified before, with the public id that each leads to: a signature is checked
 * and a secret hashed once a browser and node, not once a request. Bounded, and in memory only. Called at arrival.
 */
import { LRUCache } from "lru-cache";
import { type Verified, verifyCookie } from "./cookie.ts";
import { publicIdOf } from "./id.ts";

/** A signed cookie, and the public id of its secret. */
export type Candidate = Extract<Verified, { secret: string }> & { id: string };

/** How many values are remembered, at about 500 bytes each. */
const max = 10_000;

/** The longest value that a node writes: what is longer has a route of its sender's, and is verified each time. */
const maxLength = 128 + 1 + 43 + 1 + 32;

/** The verified cookie values of one engine. Those that are refused are not kept: they could be anything. */
export class KnownCookies {
  readonly #secrets: readonly string[];
  readonly #route: string | undefined;
  readonly #values = new LRUCache<string, Candidate>({ max });

  constructor(secrets: readonly string[], route: string | undefined) {
    this.#secrets = secrets;
    this.#route = route;
  }

  /** As `verifyCookie`, and what follows from it. */
  verify(value: string): Candidate | Exclude<Verified, { secret: string }> {
    const known = this.#values.get(value);
    if (known !== undefined) return known;
    const verified = verifyCookie(value, this.#secrets, this.#route);
    if (!("secret" in verified)) return verified;
    if (value.length > maxLength) return { ...verified, id: publicIdOf(verified.secret) };
    // Copies: V8 would keep the whole header for a part of it.
    const copy = Buffer.from(value).toString("latin1");
    const secret = Buffer.from(verified.secret).toString("latin1");
    const candidate = { ...verified, secret, id: publicIdOf(secret) };
    this.#values.set(copy, candidate);
    return candidate;
  }
}
