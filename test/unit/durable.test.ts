/** Which calls the engine marks as durable: logins, rotations and ends, and nothing else. */
import { beforeEach, describe, expect, test, vi } from "vitest";
import {
  createSessions,
  memoryStore,
  SessionError,
  type Sessions,
  type Store,
  type StoreCall,
} from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { Client } from "../support/exchange.ts";

const secret = "a secret for tests, of more than 32 characters";
const clock = manualClock();

let marks: string[];
let sessions: Sessions;
let client: Client;

/** A store that notes each verb that changes something, and whether it was durable. */
function noting(store: Store): Store {
  const note = (verb: string, call: StoreCall): void => void marks.push(`${verb}${call.durable ? " durable" : ""}`);
  return {
    now: () => store.now(),
    read: (key, call) => store.read(key, call),
    write: (key, record, expected, call) => {
      note(expected === "absent" ? "create" : "write", call);
      return store.write(key, record, expected, call);
    },
    touch: (key, stamp, call) => {
      note("touch", call);
      return store.touch(key, stamp, call);
    },
    remove: (key, end, call) => {
      note("remove", call);
      return store.remove(key, end, call);
    },
  };
}

beforeEach(() => {
  marks = [];
  const store = noting(memoryStore({ clock: () => clock.now() }));
  sessions = createSessions({ secret, store, touchInterval: 0, renewalTimeout: "1h", ttl: "1d" });
  client = new Client(sessions);
});

/** The marks since the last time. */
function taken(): string[] {
  return marks.splice(0);
}

describe("the engine marks as durable", () => {
  test("a login on a new session: the save that creates it after renew()", async () => {
    await client.request(async (session) => {
      await session.renew();
      session["user"] = "ada";
    });
    expect(taken()).toEqual(["create durable"]);
  });

  test("a login on an anonymous session: the new id, the end of the old one, and what that request saves after it", async () => {
    await client.request((session) => {
      session["cart"] = 1;
    });
    taken();
    await client.request(async (session) => {
      await session.renew();
      session["user"] = "ada";
    });
    expect(taken()).toEqual(["create durable", "write durable", "write durable"]);
  });

  test("regenerate(), and the session that it begins", async () => {
    await client.request((session) => {
      session["cart"] = 1;
    });
    taken();
    await client.request(async (session, request) => {
      await session.regenerate();
      // The request has another session since.
      Object.assign((await request.visit.load()) as object, { user: "ada" });
    });
    expect(taken()).toEqual(["remove durable", "create durable"]);
  });

  test("an end, by its browser or from elsewhere", async () => {
    await client.request((session) => {
      session["cart"] = 1;
    });
    const twin = client.twin();
    taken();
    await client.request((session) => session.destroy());
    expect(taken()).toEqual(["remove durable"]);
    await sessions.destroy((await twin.arrive()).session.id);
    expect(taken()).toEqual(["remove durable"]);
  });

  test("a timed rotation: the browser is about to drop the old id", async () => {
    await client.request((session) => {
      session["cart"] = 1;
    });
    taken();
    clock.advance(3_700_000);
    await client.request(() => {});
    expect(taken()).toEqual(["create durable", "write durable"]);
  });

  test("nothing else: no first visit, no save, no touch, no update()", async () => {
    await client.request((session) => {
      session["cart"] = 1;
    });
    clock.advance(1_000);
    await client.request(() => {});
    await client.request((session) => {
      session["cart"] = 2;
    });
    await client.request((session) => session.update((data) => void Object.assign(data, { cart: 3 })));
    expect(taken()).toEqual(["create", "touch", "write", "write"]);
  });
});

describe("a write that replicas did not confirm", () => {
  const unconfirmed = new SessionError("ERR_SESSION_UNCONFIRMED", "no replica");

  test("reported by the store is a storeError event of the session, and the request goes on", async () => {
    const inner = memoryStore();
    const store: Store = {
      ...noting(inner),
      write: (key, record, expected, call) => {
        call.report?.(unconfirmed);
        return inner.write(key, record, expected, call);
      },
    };
    const reporting = createSessions({ secret, store });
    const heard = vi.fn();
    reporting.on("storeError", heard);
    const visitor = new Client(reporting);
    await visitor.request((session) => {
      session["cart"] = 1;
    });
    const { id } = (await visitor.arrive()).session;
    expect(heard.mock.calls).toEqual([[{ operation: "write", error: unconfirmed, id }]]);
  });

  test("does not open the breaker: the store has answered", async () => {
    const inner = memoryStore();
    const store: Store = {
      ...noting(inner),
      remove: async () => {
        await new Promise((resolve) => setTimeout(resolve, 110));
        throw unconfirmed;
      },
    };
    const failing = createSessions({ secret, store });
    for (let index = 0; index < 6; index++) {
      await expect(failing.destroy("x".repeat(43))).rejects.toMatchObject({ code: "ERR_SESSION_UNCONFIRMED" });
    }
    await new Client(failing).request((session) => {
      session["cart"] = 1;
    });
  });

  test("leaves no copy behind where a timed rotation met it: the old id goes on", async () => {
    const inner = memoryStore({ clock: () => clock.now() });
    let isShort = false;
    const store: Store = {
      ...noting(inner),
      write: async (key, record, expected, call) => {
        const result = await inner.write(key, record, expected, call);
        if (isShort && call.durable) throw unconfirmed;
        return result;
      },
    };
    const short = createSessions({ secret, store, renewalTimeout: "1h" });
    const visitor = new Client(short);
    await visitor.request((session) => {
      session["cart"] = 1;
    });
    const { cookie } = visitor;
    clock.advance(3_700_000);
    isShort = true;
    taken();
    await visitor.request((session) => expect(session["cart"]).toBe(1));
    expect(visitor.cookie).toBe(cookie);
    expect(taken()).toEqual(["remove"]);
  });
});
