/** What tests of events share: a user who is logged in, and a list of what an engine tells. No test logic. */
import type { SessionEvents, Sessions } from "../../src/index.ts";
import { Client } from "./exchange.ts";

/** What is told of `name` from now on, in order. */
export function heard<K extends keyof SessionEvents>(sessions: Sessions, name: K): SessionEvents[K][] {
  const events: SessionEvents[K][] = [];
  sessions.on(name, (event) => void events.push(event));
  return events;
}

/** A browser in which `userId` is logged in, and its session's id. */
export async function logIn(sessions: Sessions, userId = "ada"): Promise<{ client: Client; id: string }> {
  const client = new Client(sessions);
  let id = "";
  await client.request((session) => {
    Object.assign(session, { userId });
    id = session.id;
  });
  return { client, id };
}
