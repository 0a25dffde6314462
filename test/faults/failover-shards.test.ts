/**
 * The shards of a Cluster: slots that move while they are written to lose nothing, and a shard that is dead costs its own
 * sessions only. One Cluster of 3 + 3 that serves what slots it has.
 */
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import keySlot from "cluster-key-slot";
import express from "express";
import { afterAll, beforeAll, expect, test } from "vitest";
import { session } from "../../adapters/express.ts";
import { createSessions, type Sessions } from "../../src/index.ts";
import type { NewRecord, Store } from "../../src/store.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { textOf } from "../../src/testing/contract-kit.ts";
import { Browser } from "../support/browser.ts";
import { expectTook } from "../support/in-time.ts";
import { listen, type RunningApp } from "../support/listen.ts";
import { startCluster } from "../support/redis-cluster.mjs";
import { waitFor } from "../support/redis-processes.mjs";

type Cluster = Awaited<ReturnType<typeof startCluster>>;

let cluster: Cluster;

beforeAll(async () => {
  cluster = await startCluster({ config: ["cluster-require-full-coverage no"] });
});

afterAll(async () => {
  await cluster.stop();
});

function record(store: Store, text: string): NewRecord {
  const now = store.now();
  const payload = Buffer.from(text);
  return { kind: "live", createdAt: now, touchedAt: now, expiresAt: now + 3_600_000, absoluteExpiresAt: null, payload };
}

/** Moves a slot with all its keys, a few at a time, as `redis-cli --cluster reshard` does. */
async function move(slot: number): Promise<void> {
  const { master: from } = await cluster.shardOf(slot);
  const to = (await cluster.masters()).find((node) => node !== from);
  if (to === undefined) throw new Error("nowhere to move to");
  const [fromId, toId] = [String(await from.command("CLUSTER", "MYID")), String(await to.command("CLUSTER", "MYID"))];
  await to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
  await from.command("CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
  for (;;) {
    const keys = await from.command("CLUSTER", "GETKEYSINSLOT", slot, 3);
    if (!Array.isArray(keys) || keys.length === 0) break;
    await from.command("MIGRATE", "127.0.0.1", to.publicPort, "", 0, 5_000, "KEYS", ...keys.map(String));
  }
  for (const node of [to, from]) await node.command("CLUSTER", "SETSLOT", slot, "NODE", toId);
}

/** Writes one record after the other until the signal, or a failure: nobody knows what became of that one. */
async function write(store: Store, key: string, failures: unknown[], signal: AbortSignal): Promise<string> {
  let version = "absent";
  let text = "";
  for (let count = 0; !signal.aborted; count += 1) {
    const call = { deadline: performance.now() + 1_000, durable: false };
    const result = await store.write(key, record(store, String(count)), version, call).catch((error: unknown) => {
      failures.push(error);
    });
    if (result === undefined) break;
    if (!result.ok) throw new Error(`${key} was written by nobody else, and refused: ${JSON.stringify(result)}`);
    version = result.version;
    text = String(count);
  }
  return text;
}

test("slots that move to another node while several writers use them lose nothing and fail no write", async () => {
  const stores = [redisStore(cluster.url), redisStore(cluster.url)];
  // Keys that share a slot, in three slots; half of them are made while it moves.
  const tags = ["{a}", "{b}", "{c}"];
  const stop = new AbortController();
  const writers: { key: string; store: Store; work: ReturnType<typeof write> }[] = [];
  const failures: unknown[] = [];
  const name = randomBytes(15).toString("hex");
  const start = (from: number): void => {
    for (const tag of tags) {
      for (let index = from; index < from + 6; index += 1) {
        const key = `${tag}${name}${String(index).padStart(10, "0")}`;
        const store = stores[index % 2] as Store; // there are two
        writers.push({ key, store, work: write(store, key, failures, stop.signal) });
      }
    }
  };
  start(0);
  const haveBegun = async () => failures.length > 0 || (await stored(stores[0], writers)) === 18;
  await waitFor(haveBegun, "every writer's first record");
  const moving = (async () => {
    for (let round = 0; round < 4; round += 1) for (const tag of tags) await move(keySlot(`holdfast:${tag}`));
  })();
  start(6);
  await moving;
  stop.abort();
  const texts = await Promise.all(writers.map(({ work }) => work));
  expect(failures).toEqual([]);
  for (const [index, { key, store }] of writers.entries()) {
    const text = texts[index];
    const found = await store.read(key, { deadline: performance.now() + 1_000, durable: false });
    expect(textOf(found)).toBe(text);
    expect(Number(text)).toBeGreaterThan(0);
  }
  for (const store of stores) await store.close?.();
});

async function stored(store: Store | undefined, writers: readonly { key: string }[]): Promise<number> {
  const call = { deadline: performance.now() + 1_000, durable: false };
  const records = await Promise.all(writers.map(({ key }) => store?.read(key, call)));
  return records.filter((each) => each !== undefined).length;
}

test("a master that hung, and is awake again before its replica takes over, is sent nothing while the others hold it to be down, nor by a process that begins just then", async () => {
  const [master, observer] = await cluster.masters();
  if (master === undefined || observer === undefined) throw new Error("no masters");
  const tags: string[] = [];
  for (let count = 0; tags.length < 4; count += 1) {
    const { master: holder } = await cluster.shardOf(keySlot(`holdfast:{${count}}`));
    if (holder === master) tags.push(`{${count}}`);
  }
  const store = redisStore(cluster.url);
  const stop = new AbortController();
  /** Of each writer. */
  const acknowledged: number[] = [];
  const writeBy = (writer: Store, name: string): Promise<void>[] =>
    tags.map(async (tag) => {
      const at = acknowledged.push(0) - 1;
      for (let count = 0; !stop.signal.aborted; count += 1) {
        const call = { deadline: performance.now() + 1_000, durable: false };
        const key = `${tag}${name}${count}`.padEnd(43, "0");
        const result = await writer.write(key, record(writer, "one of many"), "absent", call).catch(() => undefined);
        if (result?.ok === true) acknowledged[at] = (acknowledged[at] ?? 0) + 1;
      }
    });
  const work = writeBy(store, "early");
  const writes = async (): Promise<number> => {
    const stats = String(await master.command("INFO", "commandstats"));
    return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  };
  const seen = await writes();
  await waitFor(async () => (await writes()) > seen + 20, "writes to the master");
  master.pause();
  const isGivenUp = async (): Promise<boolean> => {
    const table = String(await observer.command("CLUSTER", "NODES"));
    return new RegExp(`:${master.publicPort}@\\S* \\S*master,fail `).test(table);
  };
  await waitFor(isGivenUp, "the others to give it up");
  master.resume();
  // What was in its sockets is done when it has answered.
  await master.command("PING");
  const before = await writes();
  const late = redisStore(cluster.url);
  work.push(...writeBy(late, "late"));
  await cluster.failedOver(master);
  expect((await writes()) - before).toBe(0);
  await cluster.settled();
  await waitFor(() => acknowledged.every((count) => count > 5), "each writer to go on");
  stop.abort();
  await Promise.all(work);
  for (const each of [store, late]) await each.close?.();
});

interface Visitor {
  browser: Browser;
  port: number;
  answers: { status: number; at: number; tookMs: number }[];
}

async function serve(): Promise<{ server: RunningApp; sessions: Sessions }> {
  const sessions = createSessions({ secret: "a secret of the tests of dead shards", store: redisStore(cluster.url) });
  const app = express();
  app.use(session(sessions));
  app.get("/", (req, res) => {
    Object.assign(req.session, { at: performance.now() });
    res.json({ id: req.session.id });
  });
  const onError: express.ErrorRequestHandler = (error, _req, res, _next) => {
    res.sendStatus(error.status ?? 500);
  };
  app.use(onError);
  return { server: await listen(createServer(app)), sessions };
}

/** Browsers until each master holds the sessions of three. */
async function visitorsOf(url: string): Promise<Visitor[]> {
  const visitors: Visitor[] = [];
  const masters = await cluster.masters();
  while (masters.some((master) => visitors.filter(({ port }) => port === master.publicPort).length < 3)) {
    const browser = new Browser(url);
    const answer = await browser.get("/");
    expect(answer.status).toBe(200);
    const { id } = answer.json<{ id: string }>();
    const { master } = await cluster.shardOf(keySlot(`holdfast:${id}`));
    const { length } = visitors.filter(({ port }) => port === master.publicPort);
    if (length < 3) visitors.push({ browser, port: master.publicPort, answers: [] });
  }
  return visitors;
}

async function visit({ browser, answers }: Visitor, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const start = performance.now();
    const { status } = await browser.get("/");
    answers.push({ status, at: start, tookMs: performance.now() - start });
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("a shard that is dead answers 503 at once, and the others go on; it is back when its replica takes over", async () => {
  const { server, sessions } = await serve();
  const visitors = await visitorsOf(server.url);
  const stop = new AbortController();
  const visits = visitors.map((visitor) => visit(visitor, stop.signal));
  const [victim] = await cluster.masters();
  if (victim === undefined) throw new Error("no master");
  const { replicas } = await cluster.shardOf(await firstSlotOf(victim.publicPort));
  const onVictim = visitors.filter(({ port }) => port === victim.publicPort);
  const elsewhere = visitors.filter(({ port }) => port !== victim.publicPort);

  for (const replica of replicas) replica.pause();
  await victim.kill();
  const deadAt = performance.now();
  // So often in a row that nothing but the breaker explains it.
  const isQuick = ({ status, tookMs }: Visitor["answers"][number]): boolean => status === 503 && tookMs < 500;
  await waitFor(
    () => onVictim.every(({ answers }) => answers.length > 15 && answers.slice(-15).every(isQuick)),
    "answers at once from the dead shard",
  );
  const seen = elsewhere.map(({ answers }) => answers.length);
  await waitFor(
    () => elsewhere.every(({ answers }, at) => answers.length > (seen[at] ?? 0) + 30),
    "the others to go on",
  );
  const between = [deadAt, performance.now()] as const;
  for (const replica of replicas) replica.resume();
  await waitFor(() => onVictim.every(({ answers }) => answers.at(-1)?.status === 200), "the shard to be back");
  stop.abort();
  await Promise.all(visits);

  const gaps = elsewhere.map(({ answers }) => {
    const during = answers.filter(({ at }) => at > between[0] && at < between[1]).map(({ status }) => status);
    expect(during.filter((status) => status !== 200)).toEqual([]);
    return longestGap(answers);
  });
  console.log(`other shards' longest gap ${Math.round(Math.max(...gaps))} ms`);
  expectTook(Math.max(...gaps), 1_000, "the longest gap of the other shards");
  await sessions.close();
  await server.close();
});

async function firstSlotOf(port: number): Promise<number> {
  for (let slot = 0; slot < 16_384; slot += 512) {
    if ((await cluster.shardOf(slot)).master.publicPort === port) return slot;
  }
  throw new Error(`no slot on ${port}`);
}

function longestGap(answers: Visitor["answers"]): number {
  const good = answers.filter(({ status }) => status === 200).map(({ at, tookMs }) => at + tookMs);
  return Math.max(...good.slice(1).map((at, index) => at - (good[index] ?? at)));
}
