// @ts-check
/**
 * What `sessions.list(user)` costs with 10 k, 100 k and 1 M sessions of others in the store: commands, and the median
 * time of a list of five, on a Redis of its own.
 *
 * $ npm run build && node test/bench/list-cost.mjs
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { createSessions } from "holdfast";
import { redisStore } from "holdfast/redis";
import { Redis } from "ioredis";
import { freePort } from "../../examples/cluster/free-port.mjs";

const port = await freePort();
const server = spawn("redis-server", ["--port", String(port), "--save", "", "--appendonly", "no"], { stdio: "ignore" });
const direct = new Redis(port, { retryStrategy: () => 50 });
direct.on("error", () => {});
while ((await direct.ping().catch(() => "")) !== "PONG") await delay(50);

const sessions = createSessions({
  secret: "a secret of the bench of lists, 32 characters and more",
  store: redisStore(`redis://127.0.0.1:${port}`),
  storeTimeout: "20s",
  principal: (data) => /** @type {{ userId?: string }} */ (data).userId,
});

/** @param {string} userId */
async function logIn(userId) {
  const session = await sessions.open({
    cookieHeader: undefined,
    secure: true,
    address: undefined,
    headersSent: false,
    getHeader: () => undefined,
    setHeader: () => {},
    raw: new IncomingMessage(new Socket()),
  });
  Object.assign(session, { userId });
  await sessions.commit(session);
  return session.id;
}

async function commandsSoFar() {
  const info = await direct.info("commandstats");
  let calls = 0;
  for (const [, name, count] of info.matchAll(/cmdstat_([a-z]+):calls=(\d+)/g)) {
    if (name === "get" || name === "evalsha" || name === "scan" || name === "keys") calls += Number(count);
  }
  return calls;
}

for (let count = 0; count < 5; count++) await logIn("ada");
const template = await direct.getBuffer(`holdfast:${await logIn("somebody")}`);
let filled = 0;
for (const size of [10_000, 100_000, 1_000_000]) {
  while (filled < size) {
    const pipeline = direct.pipeline();
    for (let at = 0; at < 5_000; at++, filled++) {
      const id = randomBytes(32).toString("base64url");
      pipeline.set(`holdfast:${id}`, template ?? "", "PX", 3_600_000);
      pipeline.zadd(`holdfast:p:{${randomBytes(32).toString("base64url")}}`, Date.now() + 3_600_000, id);
    }
    await pipeline.exec();
  }
  const before = await commandsSoFar();
  const rounds = 500;
  const times = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    const listed = await sessions.list("ada");
    times.push(performance.now() - start);
    if (listed.length !== 5) throw new Error(`${listed.length} of 5 sessions are listed`);
  }
  const commands = ((await commandsSoFar()) - before) / rounds;
  times.sort((a, b) => a - b);
  console.log(`${size} sessions: ${commands} commands a list, median ${times[rounds / 2]?.toFixed(3)} ms`);
}
await sessions.close();
direct.disconnect();
server.kill();
