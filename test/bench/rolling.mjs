// @ts-check
/**
 * What rolling expiry adds: Redis commands a request, for sessions that are read so often in each `touchInterval`. The
 * engine alone, by a clock of its own, which also the store is given: nothing is waited for, and the count is exact.
 * Called by `run.mjs`.
 */
import { exchangeWith } from "./exchange.mjs";
import { countCommands } from "./machine.mjs";
import { secret, signedIn } from "./servers/server.mjs";

const touchInterval = 60_000;
const sessionCount = 10;

/**
 * @param {import("ioredis").Redis} client
 * @param {string} url
 * @param {{ perInterval: number, isNear: boolean }} options
 * @returns {Promise<{ total: number, byName: Record<string, number> }>}
 */
export async function rollingCommands(client, url, { perInterval, isNear }) {
  const { createSessions } = await import("holdfast");
  const { redisStore } = await import("holdfast/redis");
  const { nearCache } = await import("holdfast/near-cache");
  const { signIn } = await import("holdfast/testing");
  let now = Date.now();
  const inner = redisStore(url, { clock: () => now });
  const store = isNear ? nearCache(inner, { maxAge: "1d" }) : inner;
  const sessions = createSessions({ secret, store, touchInterval, storeTimeout: "20s" });
  const users = await Promise.all(
    Array.from({ length: sessionCount }, () => signIn(sessions, { ...signedIn(), user: "ada" })),
  );
  const readAll = async () => {
    for (const { cookie } of users) {
      const visit = sessions.visit(exchangeWith(cookie));
      await visit.begin();
      if (/** @type {any} */ (visit.session).user === undefined) throw new Error("a session was lost");
      await visit.commit();
    }
    now += touchInterval / perInterval;
  };
  for (const { id } of isNear ? users : []) await untilKept(store, id);
  const readThroughInterval = async () => {
    for (let round = 0; round < perInterval; round += 1) await readAll();
  };
  // The first touch is due when the first interval is over.
  await readThroughInterval();
  await readAll();
  const stop = await countCommands(client);
  await readThroughInterval();
  await sessions.drain({ notice: 0 });
  const counts = await stop();
  await sessions.close();
  const requests = sessionCount * perInterval;
  const byName = Object.fromEntries([...counts].map(([name, calls]) => [name, calls / requests]));
  return { total: Object.values(byName).reduce((sum, calls) => sum + calls, 0), byName };
}

/**
 * @param {import("holdfast").Store} store
 * @param {string} id
 */
async function untilKept(store, id) {
  while (store.peek?.(id) === undefined) await store.read(id, { deadline: performance.now() + 5_000, durable: false });
}
