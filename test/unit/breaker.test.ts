import { describe, expect, it } from "vitest";
import { createSessions, memoryStore, type Store } from "../../src/index.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { until } from "../support/deferred.ts";
import { Client } from "../support/exchange.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "the newest secret, of thirty-two characters";

async function setUp(
  wrap: (store: ReturnType<typeof probeStore>) => Store = (store) => store,
  storeTimeout: number = 150,
) {
  const inner = probeStore(memoryStore());
  const { cookie } = await signIn(createSessions({ secret, store: inner }), { user: "alice" });
  const sessions = createSessions({ secret, store: wrap(inner), storeTimeout });
  return { inner, sessions, client: new Client(sessions, cookie) };
}

/** Requests that each wait for a store which does not answer; they open the breaker. */
async function openReads(client: Client): Promise<void> {
  for (let i = 0; i < 5; i++) await expect(client.arrive()).rejects.toMatchObject({ status: 503 });
}

describe("the circuit breaker", () => {
  it("opens after five calls that cost a wait: the next request is answered at once, without a store call", async () => {
    const { inner, client, sessions } = await setUp();
    const hold = inner.hold("read");
    await openReads(client);
    inner.forget();
    await expect(client.arrive()).rejects.toMatchObject({
      code: "ERR_SESSION_STORE",
      status: 503,
      message: expect.stringContaining("is not asked") as string,
    });
    expect(inner.count()).toBe(0);
    hold.release();
    await sessions.close();
  });

  it("opens with a storeTimeout below 100 ms too: waiting that long is what its callers are spared", async () => {
    const { inner, client, sessions } = await setUp(undefined, 30);
    const hold = inner.hold("read");
    await openReads(client);
    await expect(client.arrive()).rejects.toMatchObject({ message: expect.stringContaining("is not asked") as string });
    hold.release();
    await sessions.close();
  });

  it("closes by itself when the store answers again, without costing a request its wait", async () => {
    const { inner, client, sessions } = await setUp();
    const hold = inner.hold("read");
    await openReads(client);
    inner.forget();
    await until(() => inner.count("read") > 0, "the breaker to probe");
    await expect(client.arrive()).rejects.toMatchObject({ message: expect.stringContaining("is not asked") as string });
    hold.release();
    await until(
      () =>
        client.arrive().then(
          () => true,
          () => false,
        ),
      "the breaker to close",
      1000,
    );
    await client.request((session) => expect(session.user).toBe("alice"));
    await sessions.close();
  });

  it("leaves reads alone when writes hang", async () => {
    const { inner, client, sessions } = await setUp();
    inner.forget();
    const hold = inner.hold("write");
    for (let i = 0; i < 6; i++) {
      const request = await client.arrive();
      request.session[`key${i}`] = i;
      await expect(request.visit.commit()).rejects.toMatchObject({ status: 503 });
    }
    expect(inner.count("write")).toBeLessThanOrEqual(5);
    await client.request((session) => expect(session.user).toBe("alice"));
    hold.release();
    await sessions.close();
  });

  it("stays closed for failures that are quick: they keep their own reason", async () => {
    const { inner, client } = await setUp();
    inner.failing.add("read");
    for (let i = 0; i < 20; i++) {
      await expect(client.arrive()).rejects.toMatchObject({
        message: expect.stringContaining("ECONNREFUSED") as string,
      });
    }
    inner.failing.clear();
    await client.request((session) => expect(session.user).toBe("alice"));
  });

  it("opens for one shard of the store and leaves the others alone", async () => {
    let hung = "";
    const never = new Promise<never>(() => {});
    const { client, sessions } = await setUp((store) => ({
      ...store,
      shardOf: (key) => key,
      read: (key, call) => (key === hung ? never : store.read(key, call)),
    }));
    const other = new Client(sessions, (await signIn(sessions, { user: "bob" })).cookie);
    await client.request((session) => {
      hung = session.id;
    });
    await openReads(client);
    await expect(client.arrive()).rejects.toMatchObject({ message: expect.stringContaining("is not asked") as string });
    await other.request((session) => expect(session.user).toBe("bob"));
    await sessions.close();
  });

  it("closes again though the store never answered one of its probes", async () => {
    const inner = memoryStore();
    let hangs = false;
    let asked = 0;
    const store: Store = {
      now: () => inner.now(),
      read: (...args) => {
        if (hangs) asked++;
        return hangs ? new Promise(() => {}) : inner.read(...args);
      },
      write: (...args) => inner.write(...args),
      touch: (...args) => inner.touch(...args),
      remove: (...args) => inner.remove(...args),
    };
    const sessions = createSessions({ secret, store, storeTimeout: 150 });
    const { cookie } = await signIn(sessions, { user: "alice" });
    hangs = true;
    const client = new Client(sessions, cookie);
    await Promise.allSettled(Array.from({ length: 6 }, () => client.twin().arrive()));
    // Until a probe is asked, which nobody will answer.
    await until(() => asked >= 7, "the breaker to probe");
    hangs = false;
    await expect
      .poll(async () =>
        client
          .twin()
          .arrive()
          .then(
            () => "back",
            () => "away",
          ),
      )
      .toBe("back");
    await sessions.close();
  });
});
