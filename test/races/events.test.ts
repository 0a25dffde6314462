/**
 * Events between engines on a real Redis: ends are heard everywhere, a node that was cut off looks again, and what
 * expires is told at least once, by one at a time. Counts what the options cost.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { createSessions, type SessionEvents, type SessionOptions, type Sessions } from "../../src/index.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { seed, times } from "../support/counts.ts";
import { Client } from "../support/exchange.ts";
import { heard, logIn } from "../support/heard.ts";
import { type RedisServer, startRedis, until } from "../support/redis-server.ts";
import { seeded } from "../support/seeded.mjs";
import { startProxy } from "../support/tcp-proxy.ts";

const secret = "a secret of the tests of events, 32 characters";

let redis: RedisServer;
let prefixes = 0;
const open: Sessions[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((sessions) => sessions.close()));
});
afterAll(() => redis.stop());

interface Plan extends Partial<SessionOptions> {
  prefix?: string;
  url?: string;
  clock?: () => number;
}

function engine({ prefix = `e${prefixes}:`, url = redis.url, clock, ...options }: Plan = {}): Sessions {
  const store = redisStore(url, { prefix, ...(clock === undefined ? {} : { clock }) });
  const principal = (data: Record<string, unknown>) => data["userId"] as string | undefined;
  const sessions = createSessions({ secret, store, principal, storeTimeout: "10s", ...options });
  open.push(sessions);
  return sessions;
}

/** Two engines as on two nodes. */
function nodes(plan: Plan = {}): [Sessions, Sessions] {
  prefixes += 1;
  return [engine(plan), engine(plan)];
}

/** Waits until a node hears, and has heard all: sessions are ended until one is heard of, and then the last of them is. */
async function listening(by: Sessions, events: SessionEvents["destroyed"][]): Promise<void> {
  let last = "";
  await until(async () => {
    last = (await logIn(by, "nobody in particular")).id;
    await by.destroy(last);
    return events.length > 0;
  }, "the node to hear");
  await until(() => events.some(({ id }) => id === last), "the last of them to be heard of");
  events.length = 0;
}

describe("destroyed", () => {
  it("is heard on every node with its reason, and once on the node that ended the session", async () => {
    const [here, there] = nodes({ maxSessions: 1 });
    const [mine, theirs] = [heard(here, "destroyed"), heard(there, "destroyed")];
    await listening(here, theirs);
    await listening(there, mine);
    theirs.length = 0;
    const first = await logIn(here);
    const second = await logIn(there);
    await here.destroyAll("ada");
    const third = await logIn(here);
    await third.client.request((session) => session.destroy());
    await until(() => theirs.length >= 3 && mine.length >= 3, "three ends at both nodes");
    expect(mine).toEqual([
      { id: first.id, reason: "evicted", isRemote: true },
      { id: second.id, reason: "revoked" },
      { id: third.id, reason: "logout" },
    ]);
    expect(theirs).toEqual([
      { id: first.id, reason: "evicted" },
      { id: second.id, reason: "revoked", isRemote: true },
      { id: third.id, reason: "logout", isRemote: true },
    ]);
  });

  it(`is heard once on each node, however many end the session at the same time (seed ${seed})`, async () => {
    const both = nodes({ maxSessions: 1 });
    const [here, there] = both;
    const events = both.map((node) => heard(node, "destroyed"));
    const [mine = [], theirs = []] = events;
    await listening(here, theirs);
    await listening(there, mine);
    const draw = seeded(seed);
    const ids: string[] = [];
    const watched: string[] = [];
    for (let round = 0; round < times(40, 200); round++) {
      const user = `ended at once ${round}`;
      const { client, id } = await logIn(here, user);
      ids.push(id);
      for (const [at, node] of both.entries()) node.watch(id, () => void watched.push(`${at} ${id}`));
      // Both have looked it up for the first time: from here on they are told.
      await Promise.all(both.map((node) => node.get(id)));
      const ways: ((node: Sessions) => Promise<unknown>)[] = [
        (node) => node.destroy(id),
        (node) => node.destroyAll(user),
        (node) => new Client(node, client.cookie).request((session) => session.destroy()),
        // Evicts it; it may itself be ended by the other node's destroyAll.
        (node) =>
          logIn(node, user).catch((error: unknown) => expect(error).toMatchObject({ code: "ERR_SESSION_GONE" })),
      ];
      await Promise.all(
        [here, there, draw() < 0.5 ? here : there].map(async (node) => {
          const way = ways[Math.floor(draw() * ways.length)];
          if (draw() < 0.3) await new Promise(setImmediate);
          await way?.(node);
        }),
      );
    }
    // Announcements overtake nobody: who has heard of these has heard of all.
    const last = [await logIn(here, "the last"), await logIn(here, "the very last")];
    await there.destroy(last[0]?.id ?? "");
    await here.destroy(last[1]?.id ?? "");
    await until(
      () => events.every((of) => last.every(({ id }) => of.some((event) => event.id === id))),
      "the last ends",
    );
    for (const id of ids) {
      const [atHere, atThere] = events.map((of) => of.filter((event) => event.id === id));
      expect([atHere?.length, atThere?.length], `seed ${seed}`).toEqual([1, 1]);
      expect(atHere?.[0]?.reason).toBe(atThere?.[0]?.reason);
      expect([atHere, atThere].filter((of) => of?.[0]?.isRemote === true)).toHaveLength(1);
    }
    expect(watched.sort()).toEqual(ids.flatMap((id) => [`0 ${id}`, `1 ${id}`]).sort());
  });

  it("is not told of the ids that the losers of a timed rotation had made, which nobody was given", async () => {
    const clock = manualClock();
    const both = nodes({ renewalTimeout: "10m", clock: () => clock.now() });
    const [here, there] = both;
    const [mine, theirs] = [heard(here, "destroyed"), heard(there, "destroyed")];
    await listening(here, theirs);
    await listening(there, mine);
    theirs.length = 0;
    const published: string[] = [];
    const ear = new Redis(redis.url);
    ear.on("message", (_channel, text: string) => void published.push(text));
    await ear.subscribe(`e${prefixes}:ended`);
    const { client } = await logIn(here);
    clock.advance(600_000);
    await Promise.all(
      Array.from({ length: 12 }, (_, at) => new Client(both[at % 2] ?? here, client.cookie).request(() => {})),
    );
    const { id } = await logIn(here, "the last");
    await here.destroy(id);
    await until(() => published.includes(`${id} revoked`), "the last end");
    await until(() => theirs.some((event) => event.id === id), "the other node to hear it");
    ear.disconnect();
    expect(published.filter((text) => text.endsWith(" renewed"))).not.toEqual([]);
    expect([mine, theirs]).toEqual([[{ id, reason: "revoked" }], [{ id, reason: "revoked", isRemote: true }]]);
  });

  it("opens no connection while nobody listens, and lets it go with the engine", async () => {
    const [here] = nodes();
    const client = new Redis(redis.url);
    const subscribed = async (): Promise<number> => Number((await client.pubsub("NUMSUB", `e${prefixes}:ended`))[1]);
    await logIn(here);
    expect(await subscribed()).toBe(0);
    heard(here, "destroyed");
    await until(async () => (await subscribed()) === 1, "a subscriber");
    await here.close();
    await until(async () => (await subscribed()) === 0, "no subscriber");
    client.disconnect();
  });
});

describe("watch()", () => {
  it("tells a node of an end on another one, through renewals by time", async () => {
    const clock = manualClock();
    const [here, there] = nodes({ renewalTimeout: "10m", clock: () => clock.now() });
    const { client, id } = await logIn(here);
    const told: string[] = [];
    there.watch(id, (reason) => void told.push(reason));
    const events = heard(there, "destroyed");
    await listening(here, events);
    clock.advance(600_000);
    await client.request(() => {});
    await client.request((session) => expect(session.id).not.toBe(id));
    expect(told).toEqual([]);
    // The watch has moved on to the new id as soon as the announcement was looked up.
    await here.destroyAll("ada");
    await until(() => told.length > 0, "the watcher to be told");
    expect(told).toEqual(["revoked"]);
  });

  it("looks again when its node was cut off: what ended meanwhile is told", async () => {
    prefixes += 1;
    const proxy = await startProxy(redis.port);
    const there = engine({ url: `redis://127.0.0.1:${proxy.port}` });
    const here = engine();
    const events = heard(there, "destroyed");
    await listening(here, events);
    const [ended, alive] = [await logIn(here), await logIn(here)];
    const told: string[] = [];
    there.watch(ended.id, (reason) => void told.push(`ended ${reason}`));
    there.watch(alive.id, (reason) => void told.push(`alive ${reason}`));
    const stopWatching = there.watch(ended.id, () => void told.push("nobody watches any more"));
    stopWatching();
    // Ended while the node hears nothing: its connections are cut, and made anew.
    proxy.cut();
    await here.destroy(ended.id);
    await until(() => told.length > 0, "the watcher to be told");
    expect(told).toEqual(["ended revoked"]);
    await there.close();
    await proxy.stop();
  });

  it("tells at once of a session that has ended already, and of a login that took another id", async () => {
    const [here, there] = nodes();
    const [gone, renewed] = [await logIn(here), await logIn(here)];
    await here.destroy(gone.id);
    const told: string[] = [];
    there.watch(gone.id, (reason) => void told.push(reason));
    await until(() => told.length > 0, "the watcher to be told");
    there.watch(renewed.id, (reason) => void told.push(reason));
    const events = heard(there, "destroyed");
    await listening(here, events);
    await renewed.client.request((session) => session.renew());
    await until(() => told.length > 1, "the watcher to be told");
    expect(told).toEqual(["revoked", "renewed"]);
  });
});

describe("watch() of a session that expires", () => {
  it("tells every node that watches, at its deadline and not before, with no note of expiry and nobody else asking", async () => {
    const clock = manualClock();
    const [here, there] = nodes({ ttl: "1m", absoluteTimeout: "3m", touchInterval: 0, clock: () => clock.now() });
    const [idle, active] = [await logIn(here), await logIn(there)];
    const told: string[] = [];
    for (const [name, node] of Object.entries({ here, there })) {
      node.watch(idle.id, (reason) => void told.push(`${name}: idle ${reason}`));
      node.watch(active.id, (reason) => void told.push(`${name}: active ${reason}`));
    }
    // Both nodes have looked for the first time.
    await Promise.all([here, there].flatMap((node) => [node.get(idle.id), node.get(active.id)]));
    clock.advance(59_999);
    await active.client.request((session) => session.touch());
    expect(told).toEqual([]);
    clock.advance(1);
    await until(() => told.length >= 2, "both nodes to be told");
    expect(told.sort()).toEqual(["here: idle expired", "there: idle expired"]);
    for (const step of [40_000, 40_000]) {
      clock.advance(step);
      await active.client.request((session) => {
        expect(session.isNew).toBe(false);
        return session.touch();
      });
    }
    expect(told).toHaveLength(2);
    clock.advance(40_000);
    await until(() => told.length >= 4, "the absolute deadline to be told");
    expect(told.slice(2).sort()).toEqual(["here: active expired", "there: active expired"]);
  });

  it("tells who still watches, and says why, though Redis has forgotten it by then", async () => {
    const [here] = nodes({ ttl: 300 });
    const { id } = await logIn(here);
    const told: string[] = [];
    const stop = here.watch(id, (reason) => void told.push(`nobody watches any more: ${reason}`));
    here.watch(id, (reason) => void told.push(reason));
    stop();
    await until(() => told.length > 0, "the watcher");
    expect(told).toEqual(["expired"]);
    expect((await redis.command("EXISTS", `e${prefixes}:${id}`)).trim()).toBe(":0");
  });
});

describe("expired", () => {
  it("needs the option", () => {
    const [here] = nodes();
    expect(() => here.on("expired", () => {})).toThrow(
      expect.objectContaining({ code: "ERR_SESSION_OPTION" }) as Error,
    );
  });

  it("is told once of each session that ran out, by one of the nodes, and of no other", async () => {
    const clock = manualClock();
    const plan = { expiredEvents: true, ttl: "1m", clock: () => clock.now() } as const;
    const [here, there] = nodes(plan);
    const events = [heard(here, "expired"), heard(there, "expired")];
    const gone = [await logIn(here), await logIn(there), await logIn(here)];
    const out = await logIn(here);
    await out.client.request((session) => session.destroy());
    const renewed = await logIn(there);
    await renewed.client.request((session) => session.renew());
    const active = await logIn(there);
    clock.advance(50_000);
    let current = "";
    await active.client.request((session) => session.touch());
    await renewed.client.request(async (session) => {
      current = session.id;
      await session.touch();
    });
    clock.advance(10_000);
    await until(() => events.flat().length >= gone.length, "expired");
    expect(
      events
        .flat()
        .map(({ id }) => id)
        .sort(),
    ).toEqual(gone.map(({ id }) => id).sort());
    // Forgotten, too: a lease that this clock's jump lets lapse would tell of them again.
    const client = new Redis(redis.url);
    const prefix = `e${prefixes}:`;
    await until(async () => {
      const parts = await Promise.all(Array.from({ length: 16 }, (_, part) => client.zcard(`${prefix}x:{${part}}`)));
      return parts.reduce((sum, count) => sum + count, 0) === 2;
    }, "their notes to go");
    client.disconnect();
    clock.advance(51_000);
    await until(() => events.flat().length >= gone.length + 2, "the last ones");
    expect(
      events
        .flat()
        .map(({ id }) => id)
        .sort(),
    ).toEqual([...gone.map(({ id }) => id), active.id, current].sort());
  });

  it("is told again by another node where a listener rejected, after the lease", async () => {
    const clock = manualClock();
    const [here, there] = nodes({ expiredEvents: true, ttl: "1m", clock: () => clock.now() });
    let calls = 0;
    here.on("expired", async () => {
      calls += 1;
      throw new Error("the audit log is full");
    });
    const { id } = await logIn(here);
    clock.advance(60_000);
    await until(() => calls === 1, "the listener");
    const events = heard(there, "expired");
    await here.close();
    expect(events).toEqual([]);
    clock.advance(30_000);
    await until(() => events.length > 0, "the other node");
    expect(events).toEqual([{ id }]);
    expect(calls).toBe(1);
  });

  it("is told by another node when the lease of one that was killed has lapsed", async () => {
    ensureBuilt();
    const settings: Plan = { expiredEvents: true, ttl: "1s" };
    const program = fileURLToPath(new URL("principals-node.mjs", import.meta.url));
    const killed = fork(program, { env: { ...process.env, REDIS_URL: redis.url, SETTINGS: JSON.stringify(settings) } });
    const answers: { call?: number; id?: string; holds?: string }[] = [];
    killed.on("message", (answer: object) => void answers.push(answer));
    try {
      await until(() => answers.length > 0, "the node");
      killed.send({ call: 1, op: "hold" });
      killed.send({ call: 2, op: "login", user: "ada" });
      await until(() => answers.some(({ holds }) => holds !== undefined), "the lease");
    } finally {
      killed.kill("SIGKILL");
      await once(killed, "exit");
    }
    const id = answers.find(({ call }) => call === 2)?.id;
    expect(answers.map(({ holds }) => holds).filter(Boolean)).toEqual([id]);
    // Half a minute is a long time: another node, whose clock is that much ahead.
    const events = heard(engine({ ...settings, prefix: "holdfast:", clock: () => Date.now() + 30_000 }), "expired");
    await until(() => events.length > 0, "the other node");
    expect(events).toEqual([{ id }]);
  });
});

describe("the cost", () => {
  /** The commands that reach Redis while `work` runs, scripts by their first key; what scripts call is theirs. */
  async function commands(sessions: Sessions, work: () => Promise<unknown>): Promise<string[]> {
    await sessions.list("nobody");
    const monitor = await redis.monitor();
    await work();
    await sessions.list("the end");
    await monitor.stop();
    const sent = monitor.lines.filter((line) => !line.includes(" lua]"));
    return sent.map(keyOf).slice(0, -1);
  }
  const keyOf = (line: string): string => {
    const words = [...line.matchAll(/"([^"]*)"/g)].map(([, word = ""]) => word);
    const [command = "", , , key = ""] = words;
    const name = (command.startsWith("eval") ? key : (words[1] ?? "")).replace(/^e\d+:/, "");
    return `${command} ${/^[px]:/.test(name) ? name.slice(0, 1) : "session"}`;
  };

  it("of a principal is two commands a login and one a logout, and none for reads, saves and touches", async () => {
    const [here] = nodes({ touchInterval: 0 });
    await logIn(here, "somebody");
    const { client } = await logIn(here);
    await client.request((session) => Object.assign(session, { views: 1 }));
    const login = await commands(here, () => logIn(here));
    expect(login).toEqual(["evalsha p", "evalsha session", "evalsha p"]);
    const read = await commands(here, () => client.request((session) => session.id));
    expect(read).toEqual(["get session", "evalsha session"]);
    const save = await commands(here, () => client.request((session) => Object.assign(session, { views: 2 })));
    expect(save).toEqual(["get session", "evalsha session"]);
    const logout = await commands(here, () => client.request((session) => session.destroy()));
    expect(logout).toEqual(["get session", "evalsha session", "evalsha p"]);
  });

  it("of expiredEvents is one command when a session begins or ends, and none for a touch or save", async () => {
    const [here] = nodes({ expiredEvents: true, touchInterval: 0, principal: () => undefined });
    await logIn(here, "somebody");
    const begun = await logIn(here);
    const begin = await commands(here, () => logIn(here));
    expect(begin).toEqual(["evalsha x", "evalsha session"]);
    const touch = await commands(here, () => begun.client.request((session) => session.id));
    expect(touch).toEqual(["get session", "evalsha session"]);
    const end = await commands(here, () => begun.client.request((session) => session.destroy()));
    expect(end).toEqual(["get session", "evalsha session", "evalsha x"]);
  });

  it("of a list is one command and one for each of the user's sessions, whoever else has how many", async () => {
    const [here] = nodes();
    for (let count = 0; count < 3; count++) await logIn(here);
    await here.list("ada");
    const alone = await commands(here, () => here.list("ada"));
    expect(alone).toEqual(["evalsha p", "get session", "get session", "get session"]);
    for (let count = 0; count < 200; count++) await logIn(here, `other ${count}`);
    expect(await commands(here, () => here.list("ada"))).toEqual(alone);
  });
});
