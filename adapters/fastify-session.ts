/**
 * The session as Fastify's plugins expect it: with `get`, `set` and `data` (@fastify/passport, @fastify/flash). A data
 * key of such a name is yours and hides the method. Made by the engine for `fastify.ts`.
 */
import { type Data, Session, type SessionData } from "../src/index.ts";

/** What Fastify's session has beside the members of every session. */
export interface SessionAccess {
  /** The value of a data key, `undefined` where there is none: names of members are none. */
  get<K extends keyof SessionData>(key: K): SessionData[K] | undefined;
  get(key: string): unknown;
  /** Sets a data key; `undefined` removes it. */
  set<K extends keyof SessionData>(key: K, value: SessionData[K] | undefined): void;
  set(key: string, value: unknown): void;
  /** The data, as a shallow copy. */
  data(): SessionData & Record<string, unknown>;
}

/** `request.session`: the members of every session, the data, and what Fastify's plugins need; a data key wins. */
export type FastifyUserSession = Session & Omit<SessionAccess, keyof SessionData> & SessionData;

/** Fastify's class of sessions. Its methods are ordinary ones, so that a data key of that name can hide them. */
export class FastifySession extends Session {
  get(key: string): unknown {
    const value = Object.hasOwn(this, key) ? dataOf(this)[key] : undefined;
    // Express's Passport leaves `{}` behind when it logs out and keeps the session, and reads that as nobody. To
    // @fastify/passport any value is a user, and one that it can't find ends the session.
    return key === "passport" && isEmptyObject(value) ? undefined : value;
  }

  set(key: string, value: unknown): void {
    if (value === undefined) delete dataOf(this)[key];
    else dataOf(this)[key] = value;
  }

  data(): Data {
    return { ...dataOf(this) };
  }
}

/** The session seen as its data alone. */
function dataOf(session: Session): Data {
  // Members are not enumerable and live on the prototype; what remains is data.
  return session as unknown as Data;
}

function isEmptyObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length === 0;
}
