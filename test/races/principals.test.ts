/**
 * Logins, renewals, revocations and limits of one user, at once, in two processes. After each seeded round: no user has
 * more sessions than may be, nothing survived a revocation that it must not, and the index names exactly what lives.
 * And what many logins leave in it. A few rounds here, 200 with HOLDFAST_FULL.
 */
import { Cluster, Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createSessions } from "../../src/index.ts";
import { ownerOf } from "../../src/principals.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { seed, tally, times } from "../support/counts.ts";
import { until } from "../support/deferred.ts";
import { Client } from "../support/exchange.ts";
import { type NodeAnswer, type NodeOrder, type PrincipalNode, startPrincipalNode } from "../support/principal-nodes.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { type RedisCluster, startCluster } from "../support/redis-topologies.ts";
import { seeded } from "../support/seeded.mjs";

const rounds = times(3, 200);
const most = 3;
/** What a login or a renewal does, one after the other: its name, its record, its name for good. */
const steps = ["enter", "write", "confirm"] as const;

interface Fleet {
  nodes: [PrincipalNode, PrincipalNode];
  names(user: string): Promise<string[]>;
}

let single: RedisServer;
let cluster: RedisCluster;
let singleClient: Redis;
let clusterClient: Cluster;
const started: PrincipalNode[] = [];

beforeAll(async () => {
  [single, cluster] = await Promise.all([startRedis(), startCluster()]);
  singleClient = new Redis(single.url);
  clusterClient = new Cluster(cluster.startupNodes);
});
afterAll(async () => {
  await Promise.all(started.map((node) => node.stop()));
  singleClient.disconnect();
  clusterClient.disconnect();
  await Promise.all([single.stop(), cluster.stop()]);
});

const topologies: Record<string, () => { redis: string; client: Redis | Cluster }> = {
  "one Redis": () => ({ redis: single.url, client: singleClient }),
  "a Redis Cluster": () => ({
    redis: cluster.startupNodes.map(({ port }) => String(port)).join(),
    client: clusterClient,
  }),
};

async function fleet(topology: string, settings: object): Promise<Fleet> {
  const found = topologies[topology]?.();
  if (found === undefined) throw new Error(topology);
  const { redis, client } = found;
  const nodes = await Promise.all([startPrincipalNode(redis, settings), startPrincipalNode(redis, settings)] as const);
  started.push(...nodes);
  const names = async (user: string): Promise<string[]> => {
    const all = await client.call("zrange", `holdfast:p:{${ownerOf(user)}}`, "0", "-1");
    return (all as string[]).sort(); // the answer of ZRANGE
  };
  return { nodes, names };
}

/** The ids of the cookies that are the user's sessions still. */
async function alive({ nodes }: Fleet, user: string, cookies: readonly (string | undefined)[]): Promise<string[]> {
  const found = await Promise.all(
    cookies.map((cookie, at) => nodes[at % 2 === 0 ? 0 : 1].tell({ op: "whose", cookie })),
  );
  return found
    .filter(({ result }) => result === user)
    .map(({ id }) => String(id))
    .sort();
}

/** The index names exactly the sessions that live: read raw, after one list has had the chance to heal it. */
async function expectExact(at: Fleet, user: string, live: readonly string[], what: string): Promise<void> {
  const lists = await Promise.all(at.nodes.map((node) => node.tell({ op: "list", user })));
  for (const list of lists) expect(list.ids, what).toEqual([...new Set(live)]);
  expect(await at.names(user), what).toEqual([...new Set(live)]);
}

/** Twenty logins of one user, half of them on each node. */
function logInAtOnce({ nodes }: Fleet, user: string) {
  return Promise.all(
    Array.from({ length: 20 }, (_, index) => nodes[index % 2 === 0 ? 0 : 1].tell({ op: "login", user })),
  );
}

/** As many of these logins live as may, and the index names them. */
async function expectMost(
  at: Fleet,
  user: string,
  logins: readonly { cookie?: string }[],
  what: string,
): Promise<void> {
  const live = await alive(
    at,
    user,
    logins.map(({ cookie }) => cookie),
  );
  expect(live, what).toHaveLength(most);
  await expectExact(at, user, live, what);
}

/** What is under way for certain: it stands before a step of its own. */
interface Held {
  /** What was answered already: nothing, until `go`. */
  answered: NodeAnswer[];
  go(): Promise<unknown>;
  answers: Promise<NodeAnswer[]>;
}

/** A login and a renewal of one of `sessions` before each step, on each node; resolves when all of them stand there. */
async function heldInFlight({ nodes }: Fleet, user: string, sessions: readonly NodeAnswer[]): Promise<Held> {
  const answered: NodeAnswer[] = [];
  const tell = (node: PrincipalNode, order: NodeOrder): Promise<NodeAnswer> =>
    node.tell(order).then((answer) => {
      answered.push(answer);
      return answer;
    });
  const answers = nodes.flatMap((node, at) =>
    steps.flatMap((standsBefore, step) => [
      tell(node, { op: "login", user, standsBefore }),
      tell(node, { op: "renew", cookie: sessions[at * steps.length + step]?.cookie, standsBefore }),
    ]),
  );
  for (const node of nodes) {
    let seen: NodeAnswer | undefined;
    const all = answers.length / nodes.length;
    await until(async () => {
      seen = await node.tell({ op: "standing" });
      return seen.result === all || answered.length > 0;
    }, "all to stand before their steps");
    // What ends them asks Redis for the time, which is this machine's: they began before, by their own idea of it.
    await until(() => Date.now() > (seen?.ended ?? 0), "Redis's clock to pass the node's");
  }
  return {
    answered,
    go: () => Promise.all(nodes.map((node) => node.tell({ op: "go" }))),
    answers: Promise.all(answers),
  };
}

describe.each(Object.keys(topologies))("two processes on %s", (topology) => {
  it(`let ${most} of 20 logins at once stay, and never more`, async () => {
    const at = await fleet(topology, { maxSessions: most });
    for (let round = 0; round < rounds; round++) {
      const user = `evict-${round}`;
      const logins = await logInAtOnce(at, user);
      expect(logins.flatMap(({ error }) => error ?? [])).toEqual([]);
      await expectMost(at, user, logins, `round ${round}`);
    }
    tally("principals", "rounds", rounds);
  }, 600_000);

  it(`accept exactly ${most} of 20 logins at once where the policy is to reject`, async () => {
    const at = await fleet(topology, { maxSessions: { most, policy: "reject" } });
    for (let round = 0; round < rounds; round++) {
      const user = `reject-${round}`;
      const logins = await logInAtOnce(at, user);
      expect(
        logins.filter(({ error }) => error === "ERR_SESSION_LIMIT"),
        `round ${round}`,
      ).toHaveLength(20 - most);
      await expectMost(at, user, logins, `round ${round}`);
    }
    tally("principals", "rounds", rounds);
  }, 600_000);

  it(`end every session that is, or is being, logged in when all are ended (seed ${seed})`, async () => {
    const at = await fleet(topology, { ttl: "1h" });
    for (let round = 0; round < rounds; round++) {
      const user = `all-${round}`;
      const draw = seeded(seed + round);
      const node = (): PrincipalNode => at.nodes[draw() < 0.5 ? 0 : 1];
      const earlier = await Promise.all(Array.from({ length: 12 }, () => node().tell({ op: "login", user })));
      const spared = draw() < 0.5 ? earlier[0] : undefined;
      const orders = ordersOf(draw, user, earlier.slice(1, 6));
      const held = await heldInFlight(at, user, earlier.slice(6));
      const what = `seed ${seed}, round ${round}`;
      expect(held.answered, what).toEqual([]);
      const revokeAt = Math.floor(draw() * orders.length);
      const answers: Promise<NodeAnswer>[] = [];
      let revoking: Promise<NodeAnswer> | undefined;
      for (const [index, order] of orders.entries()) {
        if (index === revokeAt) revoking = node().tell({ op: "destroyAll", user, id: spared?.id });
        answers.push(node().tell(order));
        // Some at the same time, some a little later.
        if (draw() < 0.3) await new Promise((resolve) => setImmediate(resolve));
      }
      // Those that stood go on at the same time, or find it done.
      if (draw() < 0.5) {
        await revoking;
        expect(held.answered, what).toEqual([]);
      }
      await held.go();
      const revoked = await revoking;
      const stood = await held.answers;
      const results = [...(await Promise.all(answers)), ...stood];
      expect(revoked?.error, what).toBeUndefined();
      for (const { error } of results) expect([undefined, "ERR_SESSION_GONE"], what).toContain(error);
      const cookies = [...earlier, ...results].map(({ cookie }) => cookie);
      const live = await alive(at, user, cookies);
      if (spared !== undefined) expect(live, `${what}: the spared one`).toContain(spared.id);
      // Whatever began before the revocation did is dead, finished or not.
      const survivors = await alive(
        at,
        user,
        [...earlier.slice(1), ...stood].map(({ cookie }) => cookie),
      );
      tally("principals", "logins and renewals in flight as all were ended, none alive", stood.length);
      expect(survivors, what).toEqual([]);
      await expectExact(at, user, live, what);
    }
    tally("principals", "rounds", rounds);
  }, 600_000);

  it("keep few names of a user who logs in often and whose sessions nobody lists", async () => {
    const { client } = topologies[topology]?.() ?? {};
    if (client === undefined) throw new Error(topology);
    const clock = manualClock();
    const sessions = createSessions({
      secret: "a secret of the tests of principals, 40 characters",
      store: redisStore(client, { prefix: "often:", clock: clock.now }),
      principal: (data) => String(data["userId"]),
      ttl: "1m",
      absoluteTimeout: "30d",
    });
    const count = (): Promise<unknown> => client.call("zcard", `often:p:{${ownerOf("ada")}}`);
    // Each is dead after the next one but one, and its name would stand for 30 days.
    for (let login = 0; login < 200; login++) {
      await new Client(sessions).request((session) => Object.assign(session, { userId: "ada" }));
      clock.advance(30_000);
    }
    expect(Number(await count())).toBeLessThan(60);
    expect(await sessions.list("ada")).toHaveLength(1);
    expect(Number(await count())).toBe(1);
    await sessions.close();
  });
});

/** Logins, renewals, writes and logouts, in a seeded order. */
function ordersOf(draw: () => number, user: string, earlier: readonly NodeAnswer[]): NodeOrder[] {
  const orders: NodeOrder[] = earlier.map(({ cookie }, index) => ({
    op: (["renew", "write", "logout", "renew", "write"] as const)[index % 5] ?? "write",
    cookie,
  }));
  for (let count = 0; count < 8; count++) orders.splice(Math.floor(draw() * orders.length), 0, { op: "login", user });
  return orders;
}
