// @ts-check
/**
 * One node of principals.test.ts, events.test.ts and the index soak: a process of its own on the built package, with its sessions in
 * the Redis of REDIS_URL (several ports, comma-separated: a Cluster). It is told what to do by messages
 * `{ call, op, … }`, works on all of them at once, and answers `{ call, began, ended, … }`, times by Redis's clock. An
 * order with `standsBefore` stands still before that verb of the store or its index, once, until the order `go`.
 *
 * SETTINGS: the session options as JSON. Ends when its parent disconnects.
 */
import { AsyncLocalStorage } from "node:async_hooks";
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
/** The verb before which the order at work stands. @type {AsyncLocalStorage<{ before: string | undefined }>} */
const stand = new AsyncLocalStorage();
/** Those that stand, by what lets them go on. @type {(() => void)[]} */
const standing = [];

/**
 * The same, but that orders can stand before its verbs.
 * @template {object} T
 * @param {T} target
 * @returns {T}
 */
function halting(target) {
  return new Proxy(target, {
    get: (_, name) => {
      /** @type {unknown} */
      const member = Reflect.get(target, name);
      if (name === "principals" && typeof member === "object" && member !== null) return halting(member);
      if (typeof member !== "function") return member;
      return (/** @type {unknown[]} */ ...args) => {
        const at = stand.getStore();
        if (at === undefined || at.before !== name) return member.apply(target, args);
        at.before = undefined;
        return new Promise((resolve) => standing.push(() => resolve(undefined))).then(() => member.apply(target, args));
      };
    },
  });
}

const store = halting(redisStore(client ?? String(process.env.REDIS_URL)));
const sessions = createSessions({
  secret: "a secret of the tests of principals, 40 characters",
  store,
  storeTimeout: "20s", // the outcome is what is tested here, on a machine that may be busy
  principal: (data) => /** @type {{ userId?: string }} */ (data).userId,
  ...JSON.parse(process.env.SETTINGS ?? "{}"),
});

/** @typedef {{ op: string, call: number, user?: string, cookie?: string, id?: string, standsBefore?: string }} Order */

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
  standing: async () => ({ result: standing.length }),
  go: async () => {
    for (const goOn of standing.splice(0)) goOn();
    return {};
  },
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
  const work = stand.run({ before: order.standsBefore }, async () => operations[order.op]?.(order));
  const answer = await work.catch((error) => ({ error: error.code ?? String(error) }));
  process.send?.({ call: order.call, began, ended: store.now(), ...answer });
});
process.on("disconnect", async () => {
  await sessions.close();
  client?.disconnect();
});

await operations.list?.({ op: "list", call: 0, user: "nobody" }); // connected, and in step with Redis's clock
process.send?.({ call: 0 });
