// @ts-check
/**
 * Large sessions: CPU of a request that leaves its session alone, reads it or changes it, at 1, 10 and 100 KB, beside
 * what one JSON encode and one transfer of it cost. The engine alone, without HTTP. Called by `scale.mjs`.
 */
import { randomBytes } from "node:crypto";
import process from "node:process";
import { exchangeWith } from "./exchange.mjs";
import { rate } from "./figures.mjs";

/** @typedef {import("ioredis").Redis} Redis */

const atOnce = 8;

/** @param {() => void} work @param {number} count */
function cpuUsOf(work, count) {
  const before = process.cpuUsage();
  for (let done = 0; done < count; done++) work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}

/**
 * One row: bytes of JSON, and CPU µs in this process each.
 *
 * @param {{ client: Redis, url: string, kilobytes: number, operations: number }} options
 */
export async function large({ client, url, kilobytes, operations }) {
  const { createSessions } = await import("holdfast");
  const { redisStore } = await import("holdfast/redis");
  const { signIn } = await import("holdfast/testing");
  const secret = "a bench secret that is long enough for all of them";
  const sessions = createSessions({ secret, store: redisStore(url) });
  // What does not compress, in pieces as real data has them.
  const items = Array.from({ length: kilobytes * 8 }, (_, id) => ({ id, text: randomBytes(72).toString("base64") }));
  const data = { user: "ada", views: 0, items };
  const bytes = JSON.stringify(data).length;
  // Eight sessions, one request each at a time: parallel reads of one would share a command.
  const users = await Promise.all(Array.from({ length: atOnce }, () => signIn(sessions, data)));
  let turn = 0;
  const next = () => users[turn++ % atOnce] ?? { cookie: "", id: "" };
  /** @param {(session: any) => void} [handler] */
  const request = async (handler) => {
    const visit = sessions.visit(exchangeWith(next().cookie));
    await visit.begin();
    handler?.(visit.session);
    await visit.commit();
  };
  /** @param {() => Promise<void>} operation */
  const measured = async (operation) => {
    await rate(client, Math.ceil(operations / 4), operation, atOnce);
    return (await rate(client, operations, operation, atOnce)).hereUs;
  };
  const row = {
    bytes,
    encode: cpuUsOf(() => JSON.stringify(data), operations),
    decode: cpuUsOf(() => JSON.parse(JSON.stringify(data)), operations),
    transfer: await measured(async () => void (await client.getBuffer(`holdfast:${next().id}`))),
    untouched: await measured(() => request()),
    read: await measured(() => request((session) => session.user.length)),
    change: await measured(() => request(change)),
  };
  await sessions.close();
  return row;
}

/** @param {any} session */
function change(session) {
  session.views += 1;
}
