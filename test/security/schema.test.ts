/** The shape of the data: Standard Schema validators (zod, valibot), versions, and what does not fit. */
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import {
  createSessions,
  memoryStore,
  type SessionEvents,
  type SessionOptions,
  type StandardSchema,
} from "../../src/index.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { Client } from "../support/exchange.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "a secret of at least thirty-two characters";

const schemas: [string, StandardSchema][] = [
  ["zod", z.object({ user: z.string(), age: z.number().optional(), tags: z.array(z.string()).default([]) })],
  [
    "valibot",
    v.object({ user: v.string(), age: v.optional(v.number()), tags: v.optional(v.array(v.string()), () => []) }),
  ],
];

function setUp(store = probeStore(memoryStore())) {
  const engine = (options: Partial<SessionOptions>) => {
    const sessions = createSessions({ secret, store, ...options });
    const rejected: SessionEvents["rejected"][] = [];
    sessions.on("rejected", (event) => rejected.push(event));
    return { sessions, rejected };
  };
  return { store, engine };
}

describe.each(schemas)("a schema of %s", (_name, schema) => {
  it("lets data pass that fit, fills in defaults, and that is no change", async () => {
    const { store, engine } = setUp();
    const { cookie } = await signIn(engine({}).sessions, { user: "ada" });
    const client = new Client(engine({ schema }).sessions, cookie);
    store.forget();
    await client.request((session) => {
      expect(session.user).toBe("ada");
      expect(session.tags).toEqual([]);
    });
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read"]);
    await client.request((session) => {
      session.age = 36;
    });
    await client.request((session) => expect({ ...session }).toEqual({ user: "ada", tags: [], age: 36 }));
  });

  it("makes a record that fails garbage: left alone, reported with the paths and no value", async () => {
    const { store, engine } = setUp();
    const secretValue = "a value that no log may show";
    const data = { user: 5, age: secretValue, tags: ["a", { b: secretValue }] };
    const { cookie, id } = await signIn(engine({}).sessions, data as never);
    const { sessions, rejected } = engine({ schema });
    store.forget();
    await new Client(sessions, cookie).request((session) => expect(session.user).toBeUndefined());
    expect(rejected).toHaveLength(1);
    expect(rejected[0]).toMatchObject({ reason: "garbage", id });
    expect([...(rejected[0]?.issues ?? [])].toSorted()).toEqual(["age", "tags[1]", "user"]);
    expect(JSON.stringify(rejected)).not.toContain(secretValue);
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read"]);
    expect(await sessions.get(id)).toBeUndefined();
    expect((await engine({}).sessions.get(id))?.data).toEqual(data);
  });

  it.each<
    [string, (session: Client["request"] extends (h: (s: infer S) => unknown) => unknown ? S : never) => unknown]
  >([
    ["save", (session) => Object.assign(session, { age: "thirty-six" })],
    ["update()", (session) => session.update((data) => Object.assign(data, { age: "thirty-six" }))],
    [
      "renew()",
      (session) => {
        Object.assign(session, { age: "thirty-six" });
        return session.renew();
      },
    ],
  ])("refuses at %s what it would refuse to read, and the stored session stays as it was", async (_how, change) => {
    const { engine } = setUp();
    const { sessions } = engine({ schema });
    const { cookie, id } = await signIn(sessions, { user: "ada" });
    const client = new Client(sessions, cookie);
    await expect(client.request(change)).rejects.toMatchObject({
      code: "ERR_SESSION_SCHEMA",
      status: 500,
      message: expect.stringMatching(/^(?!.*thirty-six).*\bage\b/),
    });
    expect((await sessions.get(id))?.data).toEqual({ user: "ada", tags: [] });
  });

  it("refuses a key that it would drop in silence, nested ones too", async () => {
    const { engine } = setUp();
    const client = new Client(engine({ schema }).sessions);
    await expect(
      client.request((session) => Object.assign(session, { user: "ada", theme: "dark" })),
    ).rejects.toMatchObject({ code: "ERR_SESSION_SCHEMA", message: expect.stringContaining("drops theme") });
  });

  it("needs nothing of a session without data", async () => {
    const { engine } = setUp();
    const { sessions, rejected } = engine({ schema });
    const client = new Client(sessions);
    await client.request((session) => session.save());
    await client.request((session) => {
      expect(session.isNew).toBe(false);
      session.user = "ada";
    });
    await client.request((session) => expect(session.user).toBe("ada"));
    expect(rejected).toEqual([]);
  });

  it("checks what a merge makes of two requests", async () => {
    const { engine } = setUp();
    const { sessions } = engine({ schema });
    const client = new Client(sessions, (await signIn(sessions, { user: "ada" })).cookie);
    const [one, other] = [await client.arrive(), await client.arrive()];
    one.session.age = 36;
    other.session.tags = ["a"];
    await client.leave(one);
    await client.leave(other);
    await client.request((session) => expect({ ...session }).toEqual({ user: "ada", age: 36, tags: ["a"] }));
  });
});

describe("a schema that transforms", () => {
  it("gives the app dates, as long as it takes its own output", async () => {
    const { store, engine } = setUp();
    const schema = z.object({ user: z.string(), since: z.coerce.date() });
    const { sessions } = engine({ schema });
    const since = new Date("2026-11-21T10:00:00Z");
    const client = new Client(sessions, (await signIn(sessions, { user: "ada", since })).cookie);
    store.forget();
    await client.request((session) => expect(session.since).toEqual(since));
    expect(store.count("write")).toBe(0);
    await client.request((session) => {
      session.since = new Date(0);
    });
    await client.request((session) => expect(session.since).toEqual(new Date(0)));
  });

  it("names what it drops deep inside", async () => {
    const { engine } = setUp();
    const { sessions } = engine({ schema: z.object({ cart: z.object({ total: z.number() }) }) });
    await expect(signIn(sessions, { cart: { total: 1, coupon: "x" } } as never)).rejects.toThrow("drops cart.coupon");
  });
});

describe("a schema that is asynchronous", () => {
  it("is refused at start-up where that shows, and when data are saved where it does not", async () => {
    expect(() =>
      setUp().engine({
        schema: v.objectAsync({
          user: v.pipeAsync(
            v.string(),
            v.checkAsync(async () => true),
          ),
        }),
      }),
    ).toThrow("asynchronous");
    const late = z.object({ user: z.string().refine(async () => true) });
    const { sessions } = setUp().engine({ schema: late });
    await expect(signIn(sessions, { user: "ada" })).rejects.toMatchObject({
      code: "ERR_SESSION_SCHEMA",
      message: expect.stringContaining("asynchronous"),
    });
  });
});

describe("migrate", () => {
  const asked: number[] = [];
  const migrate = (data: Record<string, unknown>, from: number): Record<string, unknown> => {
    asked.push(from);
    const { name, ...rest } = data;
    return from < 2 ? { ...rest, user: name } : data;
  };
  const newer: Partial<SessionOptions> = {
    version: 2,
    migrate,
    schema: z.object({ user: z.string(), n: z.number().optional() }),
  };

  it("upgrades older data when they are read, and writes them when the session is saved anyway", async () => {
    const { store, engine } = setUp();
    const old = engine({}).sessions;
    const { cookie, id } = await signIn(old, { name: "ada" });
    const { sessions, rejected } = engine(newer);
    const client = new Client(sessions, cookie);
    asked.length = 0;
    store.forget();
    await client.request((session) => expect({ ...session }).toEqual({ user: "ada" }));
    expect(asked).toEqual([0]);
    expect(store.calls.map(({ verb }) => verb)).toEqual(["read"]);
    // A node of the release before still reads it.
    expect((await old.get(id))?.data).toEqual({ name: "ada" });
    expect((await sessions.get(id))?.data).toEqual({ user: "ada" });
    await client.request((session) => {
      session.n = 1;
    });
    asked.length = 0;
    await client.request((session) => expect({ ...session }).toEqual({ user: "ada", n: 1 }));
    expect(asked).toEqual([]);
    expect(rejected).toEqual([]);
  });

  it("upgrades under update() and under a merge with an older node's save", async () => {
    const { engine } = setUp();
    const old = engine({}).sessions;
    const { cookie } = await signIn(old, { name: "ada" });
    const client = new Client(engine(newer).sessions, cookie);
    const request = await client.arrive();
    // The older node saves in between; then both changes are there, in the new shape.
    await new Client(old, cookie).request((session) => Object.assign(session, { n: 5 }));
    request.session.user = "grace";
    await client.leave(request);
    await client.request((session) => expect({ ...session }).toEqual({ user: "grace", n: 5 }));
    const { cookie: other } = await signIn(old, { name: "linus" });
    await new Client(engine(newer).sessions, other).request((session) =>
      session.update((data) => Object.assign(data, { n: 7 })),
    );
    await new Client(engine(newer).sessions, other).request((session) => {
      expect({ ...session }).toEqual({ user: "linus", n: 7 });
    });
  });

  it("that throws, or gives what the schema refuses, makes the record garbage", async () => {
    const { engine } = setUp();
    const { cookie } = await signIn(engine({}).sessions, { something: "else" });
    const refused = engine(newer);
    await new Client(refused.sessions, cookie).request((session) => expect(session.user).toBeUndefined());
    expect(refused.rejected).toMatchObject([{ reason: "garbage", issues: ["user"] }]);
    const broken = engine({
      version: 1,
      migrate: () => {
        throw new Error("no such thing");
      },
    });
    await new Client(broken.sessions, cookie).request((session) => expect({ ...session }).toEqual({}));
    expect(broken.rejected).toMatchObject([{ reason: "garbage" }]);
  });

  it("a record of a newer version is a 503 on an older node: its session lives, and the cookie stays", async () => {
    const { engine } = setUp();
    const { cookie } = await signIn(engine(newer).sessions, { user: "ada" });
    const older = engine({ version: 1 });
    await expect(new Client(older.sessions, cookie).arrive()).rejects.toMatchObject({ status: 503 });
    const anonymous = engine({ version: 1, onStoreError: "anonymous" });
    const exchange = await new Client(anonymous.sessions, cookie).request((session) => {
      expect(session.isDegraded).toBe(true);
      session.user = "eve";
    });
    expect(exchange.setCookies).toEqual([]);
    await new Client(engine(newer).sessions, cookie).request((session) => expect(session.user).toBe("ada"));
  });
});
