// @ts-check
/**
 * Bugs to plant in the checker's apps, to prove that the checker would see them. Each is made of options and of a
 * decorator around the real store; none is in the product. Called by `app.mjs`.
 */
import { Redis } from "ioredis";

/**
 * @typedef {import("holdfast").Store} Store
 * @typedef {{ store: Store, direct: string, prefix: string }} Place `direct`: Redis's URL without the proxy
 * @typedef {Partial<import("holdfast").SessionOptions>} Options
 */

const pause = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * The verbs of a store with some of them replaced.
 * @param {Store} store
 * @param {Partial<Store>} verbs
 * @returns {Store}
 */
function decorate(store, verbs) {
  return {
    read: (key, call) => store.read(key, call),
    write: (key, record, expected, call) => store.write(key, record, expected, call),
    touch: (key, stamp, call) => store.touch(key, stamp, call),
    remove: (key, end, call) => store.remove(key, end, call),
    now: () => store.now(),
    close: async () => store.close?.(),
    ...verbs,
  };
}

/** @type {Record<string, (place: Place) => Options>} */
const planting = {
  /** The whole record is written over whatever live one stands there: the last one wins. */
  "last-write": ({ store }) => ({
    store: decorate(store, {
      async write(key, record, expected, call) {
        for (let version = expected; ; ) {
          const result = await store.write(key, record, version, call);
          if (result.ok || result.current?.kind !== "live") return result;
          version = result.current.version;
        }
      },
    }),
  }),
  /** A save that finds its session ended makes it anew. */
  "recreating-save": ({ store, direct, prefix }) => {
    const redis = new Redis(direct);
    return {
      store: decorate(store, {
        async write(key, record, expected, call) {
          const result = await store.write(key, record, expected, call);
          if (result.ok || (result.current !== undefined && result.current.kind !== "ended")) return result;
          await redis.del(prefix + key);
          return store.write(key, record, "absent", call);
        },
      }),
    };
  },
  /** The answer leaves before the save, which takes a while. */
  "early-answer": ({ store }) => ({
    commit: "background",
    store: decorate(store, {
      async write(key, record, expected, call) {
        await pause(60);
        return store.write(key, record, expected, call);
      },
    }),
  }),
  /** One read in twenty answers with the session that another request read before. */
  leak: ({ store }) => {
    let count = 0;
    /** @type {import("holdfast").StoreRecord | undefined} */
    let last;
    return {
      store: decorate(store, {
        async read(key, call) {
          const record = await store.read(key, call);
          count += 1;
          if (count % 20 === 0 && last !== undefined) return last;
          if (record?.kind === "live") last = record;
          return record;
        },
      }),
    };
  },
  /** Ids are counted. */
  "weak-id": () => {
    let count = process.pid * 1000;
    return { genId: () => `an-id-that-is-counted-${String(count++).padStart(10, "0")}` };
  },
  /** Records lose their TTL. */
  "no-ttl": ({ store, direct, prefix }) => {
    const redis = new Redis(direct);
    return {
      store: decorate(store, {
        async write(key, record, expected, call) {
          const result = await store.write(key, record, expected, call);
          await redis.persist(prefix + key);
          return result;
        },
      }),
    };
  },
  /** An update whose answer was lost is done again: here, one in ten is done twice. */
  "double-update": ({ store }) => {
    let count = 0;
    return {
      store: decorate(store, {
        async write(key, record, expected, call) {
          const result = await store.write(key, record, expected, call);
          count += 1;
          if (!result.ok || count % 10 !== 0) return result;
          return { ok: false, current: await store.read(key, call) };
        },
      }),
    };
  },
};

/** The names of all bugs. */
export const bugs = Object.keys(planting);

/**
 * @param {string | undefined} bug
 * @param {Place} place
 * @returns {Options} the options of an app with this bug; without one, the plain store
 */
export function plant(bug, place) {
  if (bug === undefined) return { store: place.store };
  const make = planting[bug];
  if (make === undefined) throw new Error(`no bug is called ${bug}; there are ${bugs.join(", ")}`);
  return { store: place.store, ...make(place) };
}
