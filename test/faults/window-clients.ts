/**
 * Clients of sessions while a master dies: each counts up in its session, logs out and in again, and remembers what was
 * acknowledged and when. Afterwards `whatIsMissing` looks at the store that is left. Called by the tests of the
 * replication window.
 */
import { setTimeout as delay } from "node:timers/promises";
import { createSessions, type Sessions, type Store } from "../../src/index.ts";
import { Client } from "../support/exchange.ts";

const secret = "a secret for tests, of more than 32 characters";
const lifeOps = 12;

/** Something that the store said yes to. */
interface Acknowledged {
  cookie: string;
  /** Monotonic ms. */
  at: number;
}

/** What one group of clients saw. */
export interface Seen {
  /** Counts that were saved, each with the value that it brought the session to. */
  saved: (Acknowledged & { count: number })[];
  logins: Acknowledged[];
  logouts: Acknowledged[];
  /** Sessions whose logout was asked for, whatever came of it. */
  doomed: Set<string>;
  /** Requests that met a session from before their own client's last acknowledged save. */
  stale: number;
  /** Failures by code. */
  failures: Map<string, number>;
}

/** What a failover undid. */
export interface Missing {
  /** When each lost save was acknowledged. */
  lost: number[];
  /** Sessions that began with an acknowledged login and are not there. */
  loggedOut: number;
  /** Sessions that are there after an acknowledged logout. */
  resurrected: number;
}

/** Some clients on one store. */
export class Group {
  readonly seen: Seen = { saved: [], logins: [], logouts: [], doomed: new Set(), stale: 0, failures: new Map() };
  readonly sessions: Sessions;
  #isStopped = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(store: Store) {
    this.sessions = createSessions({ secret, store, storeTimeout: "1s", touchInterval: 0 });
  }

  /** Starts so many clients, half of which never log out; each pauses a little between its requests. */
  start(clients: number): void {
    this.#running = Promise.all(Array.from({ length: clients }, (_, index) => this.#live(index)));
  }

  /** Resolves when the last request has its answer. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
    // Safe to call again.
    await this.sessions.close();
  }

  async #live(index: number): Promise<void> {
    const requests = index % 2 === 0 ? Number.POSITIVE_INFINITY : lifeOps + index;
    // A client that failed to log in or out begins anew, with a session of its own.
    while (!this.#isStopped) {
      await this.#liveOnce(requests).catch(() => undefined);
      // A store that refuses at once must not leave the event loop to its clients alone.
      await delay(3);
    }
  }

  async #liveOnce(requests: number): Promise<void> {
    const client = new Client(this.sessions);
    await this.#request(client, async (session) => {
      await session.regenerate();
    });
    // As apps do: the user is noted after the new id was given.
    await this.#request(client, (session) => {
      Object.assign(session, { user: "ada", count: 0 });
      return session.renew();
    });
    const cookie = client.cookie ?? "";
    this.seen.logins.push({ cookie, at: performance.now() });
    let last = 0;
    for (let count = 1; count <= requests && !this.#isStopped; count++) {
      await delay(3);
      const isSaved = await this.#request(client, (session) => {
        if (Number(session["count"]) < last) this.seen.stale += 1;
        session["count"] = count;
      }).then(
        () => true,
        () => false,
      );
      if (!isSaved) continue;
      last = count;
      this.seen.saved.push({ cookie, count, at: performance.now() });
    }
    if (this.#isStopped) return;
    this.seen.doomed.add(cookie);
    await this.#request(client, (session) => session.destroy());
    this.seen.logouts.push({ cookie, at: performance.now() });
  }

  async #request(client: Client, handler: Parameters<Client["request"]>[0]): Promise<void> {
    try {
      await client.request(handler);
    } catch (error) {
      const code = String(error instanceof Error ? Reflect.get(error, "code") : error);
      this.seen.failures.set(code, (this.seen.failures.get(code) ?? 0) + 1);
      throw error;
    }
  }
}

/** Looks at every session again, in the store that is left. */
export async function whatIsMissing({ saved, logins, logouts, doomed }: Seen, store: Store): Promise<Missing> {
  const sessions = createSessions({ secret, store, storeTimeout: "5s" });
  try {
    const counts = new Map<string, number>();
    for (const { cookie } of logins) {
      await new Client(sessions, cookie).request((session) => {
        if (session["user"] === "ada") counts.set(cookie, Number(session["count"]));
      });
    }
    const kept = logins.filter(({ cookie }) => !doomed.has(cookie));
    return {
      // A session whose logout was asked for may be gone, and its counts with it.
      lost: saved
        .filter(({ cookie, count }) => !doomed.has(cookie) && count > (counts.get(cookie) ?? -1))
        .map(({ at }) => at),
      loggedOut: kept.filter(({ cookie }) => !counts.has(cookie)).length,
      resurrected: logouts.filter(({ cookie }) => counts.has(cookie)).length,
    };
  } finally {
    await sessions.close();
  }
}
