// @ts-check
/** A port for a server that is started by itself, and may be killed and started again. The demo and the tests use it. */
import { once } from "node:events";
import { createServer } from "node:net";

/** What this process was given: its server may not listen yet. @type {Set<number>} */
const given = new Set();

/**
 * A port of the loopback that was free a moment ago, and another one each time. It is none of those that systems hand out
 * to connections (from 32768 on with Linux, 49152 elsewhere): one of these could be taken while a killed server is down,
 * even by the connection of a client that tries to reach it.
 *
 * @returns {Promise<number>}
 */
export async function freePort() {
  for (let tries = 0; tries < 100; tries++) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
  throw new Error("none of 100 ports from 10000 to 32000 is free");
}

/** @param {number} port */
async function isFree(port) {
  const probe = createServer().listen(port, "127.0.0.1");
  try {
    await once(probe, "listening");
  } catch {
    return false;
  }
  probe.close();
  await once(probe, "close");
  return true;
}
