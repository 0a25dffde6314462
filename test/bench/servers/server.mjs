// @ts-check
/**
 * What every server under test shares: the data a login puts into its session, the answers that do not depend on a
 * session, and the channel to the driver (`../target.mjs`), which forks these files as
 * `node <framework>.mjs <variant> <redis url>`. No framework and no session library is imported here.
 *
 * Every framework's file serves the same routes, whatever the variant, and answers the same JSON:
 *
 * | route         | what the handler does                                        | answer                    |
 * | ------------- | ------------------------------------------------------------ | ------------------------- |
 * | `GET /page`   | never touches the session                                    | `{ "page": "home" }`      |
 * | `GET /read`   | reads the user's name                                        | `{ "user": "…" }`         |
 * | `POST /write` | counts up `views`, so that each request changes the session  | `{ "views": n }`          |
 * | `POST /login` | begins a new session (`regenerate`) and puts the user in it  | `{ "user": "…" }`         |
 *
 * A session without a user makes `/read` and `/write` a 401, and the driver takes no status but 200: a variant that
 * lost its sessions can't be measured by accident. The variant `bare` keeps the same values in a variable.
 */
import process from "node:process";

/** A secret long enough for every library. */
export const secret = "a bench secret that is long enough for all of them";

let logins = 0;

/**
 * What a login stores: about 370 bytes of JSON, a new user id each time.
 *
 * @returns {{ user: { id: string, name: string, email: string, roles: string[] }, views: number, theme: string,
 *   locale: string, csrf: string, cart: { sku: string, title: string, quantity: number }[] }}
 */
export function signedIn() {
  logins += 1;
  return {
    user: { id: `user-${logins}`, name: "Ada Lovelace", email: "ada@example.org", roles: ["customer", "editor"] },
    views: 0,
    theme: "dark",
    locale: "en-GB",
    csrf: "kZ3v0mB2pQ9sT7xY1cF5hJ8nL4rW6aEd",
    cart: [
      { sku: "BK-0441", title: "Notes on the Analytical Engine", quantity: 1 },
      { sku: "PN-1007", title: "Fountain pen, black", quantity: 2 },
    ],
  };
}

/** The answer of `GET /page`. */
export const page = Object.freeze({ page: "home" });

/** @typedef {{ isNear?: boolean, isLazy?: boolean }} Variant of holdfast: with the near cache; with `load: "lazy"` */

/**
 * The options of holdfast's variants.
 *
 * @param {string} redisUrl
 * @param {Variant} variant
 * @returns {Promise<import("holdfast").SessionOptions>}
 */
export async function holdfastOptions(redisUrl, { isNear = false, isLazy = false }) {
  const { redisStore } = await import("holdfast/redis");
  const { nearCache } = await import("holdfast/near-cache");
  const store = redisStore(redisUrl);
  return {
    store: isNear ? nearCache(store) : store,
    secret,
    cookie: { secure: false },
    load: isLazy ? "lazy" : "eager",
  };
}

/**
 * The Redis client of the peers that use connect-redis, which takes node-redis only.
 *
 * @param {string} redisUrl
 * @param {boolean} tuned `false`: defaults, as connect-redis's README has it. `true`: without node-redis 6's default
 *   command timeout of 5 s, an AbortSignal per command that costs more CPU than the rest of the client; such a client
 *   waits for ever on a Redis that hangs
 */
export async function nodeRedis(redisUrl, tuned) {
  const { createClient } = await import("redis");
  const client = createClient({ url: redisUrl, ...(tuned ? { commandOptions: { timeout: 0 } } : {}) });
  client.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
  await client.connect();
  return client;
}

/**
 * Answers the driver's questions and tells it the port. The last call of each server file.
 *
 * @param {number} port
 */
export function announce(port) {
  process.on("message", (message) => {
    if (message === "cpu") process.send?.({ cpu: process.cpuUsage() });
  });
  // The driver hangs up when it is done. An explicit exit, as the variants' Redis connections are still open.
  process.on("disconnect", () => process.exit(0));
  process.send?.({ port });
}

/**
 * Starts the variant named on the command line.
 *
 * @param {Record<string, (redisUrl: string) => Promise<number>>} variants each starts a server on a free loopback port
 */
export async function start(variants) {
  const [name = "", redisUrl = ""] = process.argv.slice(2);
  const variant = variants[name];
  if (variant === undefined) throw new Error(`unknown variant ${JSON.stringify(name)}`);
  announce(await variant(redisUrl));
}
