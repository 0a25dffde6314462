// @ts-check
/**
 * One node of principals.test.ts, events.test.ts and the index soak: a process of its own on the built package, with its sessions in
 * the Redis of REDIS_URL (several ports, comma-separated: a Cluster). It is told what to do by messages
 * `{ call, op, … }`, works on all of them at once, and answers `{ call, began, ended, … }`, times by Redis's clock.
 *
 * SETTINGS: the session options as JSON. Ends when its parent disconnects.
 */
import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { createSessions } from "holdfast";
import { redisStore } from "holdfast/redis";
import { Cluster } from "ioredis";

const ports = String(process.env.REDIS_URL).split(",");
const client =
  ports.length > 1
    ? new Cluster(
        ports.map((port) => ({ host: "127.0.0.1", port: Number(port) })),
        { scaleReads: "master", redisOptions: { commandTimeout: 10_000, socketTimeout: 15_000 } },
      )
    : undefined;
const store = redisStore(client ?? String(process.env.REDIS_URL));
const sessions = createSessions({
  secret: "a secret of the tests of principals, 40 characters",
  store,
  storeTimeout: "20s", // the outcome is what is tested here, on a machine that may be busy
  principal: (data) => /** @type {{ userId?: string }} */ (data).userId,
  ...JSON.parse(process.env.SETTINGS ?? "{}"),
});

/** @typedef {{ op: string, call: number, user?: string, cookie?: string, id?: string }} Order */

/**
 * One request: its session, and the cookie that the client has afterwards.
 * @param {string | undefined} cookieHeader
 * @param {(session: import("holdfast").UserSession & Record<string, unknown>) => unknown} handler
 */
async function request(cookieHeader, handler) {
  /** @type {Map<string, string | string[]>} */
  const headers = new Map();
  const visit = sessions.visit({
    cookieHeader,
    secure: true,
    address: undefined,
    headersSent: false,
    getHeader: (name) => headers.get(name),
    setHeader: (name, value) => void headers.set(name, value),
    raw: new IncomingMessage(new Socket()),
  });
  const session = await visit.load();
  const result = await handler(/** @type {never} */ (session));
  await visit.commit();
  const line = [headers.get("set-cookie") ?? []].flat()[0];
  const value = line?.split(";", 1)[0] ?? cookieHeader;
  return { cookie: value?.endsWith("=") ? undefined : value, id: session.id, result };
}

/** @type {Record<string, (order: Order) => Promise<object>>} */
const operations = {
  login: ({ user, cookie }) => request(cookie, (session) => Object.assign(session, { userId: user })),
  renew: ({ cookie }) => request(cookie, (session) => session.renew()),
  write: ({ cookie }) => request(cookie, (session) => Object.assign(session, { at: Math.random() })),
  whose: ({ cookie }) => request(cookie, (session) => session["userId"]),
  logout: ({ cookie }) => request(cookie, (session) => session.destroy()),
  list: async ({ user = "" }) => ({ ids: (await sessions.list(user)).map(({ id }) => id).sort() }),
  destroy: async ({ id = "", user = "" }) => ({ result: await sessions.destroy(id, { principal: user }) }),
  // Takes the lease of what expires, says so, and never lets go of it.
  hold: async () => {
    sessions.on("expired", ({ id }) => {
      process.send?.({ holds: id });
      return new Promise(() => {});
    });
    return {};
  },
  destroyAll: async ({ user = "", id }) => ({
    result: await sessions.destroyAll(user, id === undefined ? {} : { except: id }),
  }),
};

process.on("message", async (/** @type {Order} */ order) => {
  const began = store.now();
  const answer = await Promise.resolve(operations[order.op]?.(order)).catch((error) => ({
    error: error.code ?? String(error),
  }));
  process.send?.({ call: order.call, began, ended: store.now(), ...answer });
});
process.on("disconnect", async () => {
  await sessions.close();
  client?.disconnect();
});

await operations.list?.({ op: "list", call: 0, user: "nobody" }); // connected, and in step with Redis's clock
process.send?.({ call: 0 });
