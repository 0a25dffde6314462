// @ts-check
/** The network between the servers of a chaos run: a proxy before each, in a process of their own (`proxies.mjs`). */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** @typedef {Awaited<ReturnType<typeof startNetwork>>} Network */

export async function startNetwork() {
  const child = fork(join(import.meta.dirname, "proxies.mjs"), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  await once(child, "spawn");
  let count = 0;
  /** @type {Map<number, (port: number | undefined) => void>} */
  const waiting = new Map();
  child.on("message", (/** @type {{ id: number, port?: number }} */ { id, port }) => {
    waiting.get(id)?.(port);
    waiting.delete(id);
  });
  const order = (/** @type {object} */ what) => {
    const id = ++count;
    child.send({ id, ...what });
    return new Promise((resolve) => waiting.set(id, resolve));
  };
  /** Each server's own address for what it sends, so that the proxies know it. @type {Map<string, string>} */
  const sources = new Map();
  const sourceOf = (/** @type {string} */ name) => {
    const known = sources.get(name) ?? `127.0.1.${sources.size + 1}`;
    sources.set(name, known);
    return known;
  };
  return {
    sourceOf,
    /** Puts a proxy before a port of a server. @param {string} name @param {number} target @returns {Promise<number>} */
    publish: async (name, target) => Number(await order({ open: { owner: name, source: sourceOf(name), target } })),
    /** Silence between this server and everybody. @param {string} name */
    cut: (name) => order({ cut: sourceOf(name) }),
    /** @param {string} name @param {boolean} isReset whether its old connections end, or go on with what was sent */
    heal: (name, isReset) => order({ heal: sourceOf(name), isReset }),
    /** Keeps what a server sends from a port from the other servers. @param {number} target as in `publish` */
    hold: (target) => order({ hold: target }),
    /** Ends `hold`, and the connections that it held: what was sent meanwhile is lost. @param {number} target */
    drop: (target) => order({ drop: target }),
    async stop() {
      if (child.exitCode !== null) return;
      const gone = once(child, "exit");
      child.disconnect();
      await gone;
    },
  };
}
