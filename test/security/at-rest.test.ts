/** What stands in the store when it is sealed or compressed, and what becomes of a record that does not open. */
import { randomBytes } from "node:crypto";
import { deflateRawSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  compressed,
  createSessions,
  memoryStore,
  type SessionEvents,
  type SessionOptions,
  type Store,
  sealed,
  type Transform,
} from "../../src/index.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { Client } from "../support/exchange.ts";

const secret = "a secret of at least thirty-two characters";
const [first, second] = ["the first key at rest, of 32 characters", "the second key at rest, of 32 characters"];
const call = { deadline: Number.POSITIVE_INFINITY, durable: false };

/** The bytes under a key. */
async function bytesOf(store: Store, id: string): Promise<Buffer> {
  const record = await store.read(id, call);
  if (record?.kind !== "live") throw new Error("no live record");
  return Buffer.from(record.payload);
}

/** Changes the bytes under a key. */
async function put(store: Store, id: string, payload: Uint8Array): Promise<void> {
  const record = await store.read(id, call);
  if (record?.kind !== "live") throw new Error("no live record");
  const { version, ...rest } = record;
  expect(await store.write(id, { ...rest, payload }, version, call)).toMatchObject({ ok: true });
}

function engine(store: Store, transforms: Transform[], options: Partial<SessionOptions> = {}) {
  const sessions = createSessions({ secret, store, transforms, ...options });
  const rejected: SessionEvents["rejected"][] = [];
  sessions.on("rejected", (event) => rejected.push(event));
  return { sessions, rejected };
}

describe("sealed()", () => {
  it("[at rest] leaves nothing to be read in the store: neither data, nor who logged in from where", async () => {
    const store = memoryStore();
    const describe = () => ({ userAgent: "a browser to remember" });
    const { sessions } = engine(store, [sealed(first)], { describe });
    const { id, cookie } = await signIn(sessions, { user: "ada@example.org" });
    const bytes = await bytesOf(store, id);
    for (const word of ["ada", "user", "browser", "loginAt"]) expect(bytes.includes(word)).toBe(false);
    await new Client(sessions, cookie).request((session) => expect(session.user).toBe("ada@example.org"));
  });

  it("gives the same record other bytes each time, 33 more than it has", async () => {
    const transform = sealed(first);
    const bytes = randomBytes(100);
    const [one, two] = [transform.apply(bytes, { key: "k" }), transform.apply(bytes, { key: "k" })];
    expect(one).not.toEqual(two);
    expect([one.byteLength, two.byteLength]).toEqual([133, 133]);
  });

  it("opens what any key of the ring sealed, and seals with the first", async () => {
    const store = memoryStore();
    const { cookie } = await signIn(engine(store, [sealed(first)]).sessions, { user: "ada" });
    const both = engine(store, [sealed([second, first])]);
    await new Client(both.sessions, cookie).request((session) => {
      expect(session.user).toBe("ada");
      session.theme = "dark";
    });
    const onlyNew = engine(store, [sealed(second)]);
    await new Client(onlyNew.sessions, cookie).request((session) => expect(session.theme).toBe("dark"));
  });

  it("does not open a record that was copied to another key, which is garbage there and goes on where it belongs", async () => {
    const store = memoryStore();
    const { sessions, rejected } = engine(store, [sealed(first)]);
    const [victim, thief] = [await signIn(sessions, { user: "root" }), await signIn(sessions, { user: "eve" })];
    await put(store, thief.id, await bytesOf(store, victim.id));
    await new Client(sessions, thief.cookie).request((session) => expect(session.user).toBeUndefined());
    expect(rejected).toEqual([{ reason: "garbage", id: thief.id, address: "192.0.2.1" }]);
    await new Client(sessions, victim.cookie).request((session) => expect(session.user).toBe("root"));
  });

  it("treats what does not open as garbage: left alone, one report, a new session under a new id", async () => {
    const store = memoryStore();
    const { cookie, id } = await signIn(engine(store, [sealed(first)]).sessions, { user: "ada" });
    const before = await bytesOf(store, id);
    const { sessions, rejected } = engine(store, [sealed(second)]);
    const client = new Client(sessions, cookie);
    await client.request((session) => {
      expect(session.user).toBeUndefined();
      expect(session.user).toBeUndefined();
      session.user = "grace";
    });
    expect(rejected).toEqual([{ reason: "garbage", id, address: "192.0.2.1" }]);
    expect(client.cookie).not.toBe(cookie);
    expect(await bytesOf(store, id)).toEqual(before);
    expect(await sessions.get(id)).toBeUndefined();
    // The key is back: so is the session.
    const mended = engine(store, [sealed([second, first])]);
    await new Client(mended.sessions, cookie).request((session) => expect(session.user).toBe("ada"));
  });

  it("[CVE-2026-39324] reads nothing that is not sealed, whatever it looks like", async () => {
    const store = memoryStore();
    const plain = engine(store, []);
    const { cookie, id } = await signIn(plain.sessions, { user: "ada" });
    const { sessions, rejected } = engine(store, [sealed(first)]);
    await new Client(sessions, cookie).request((session) => expect(session.user).toBeUndefined());
    await put(
      store,
      id,
      Buffer.concat([Buffer.of(1), Buffer.from('\n{"user":"root"} and some more, to be long enough')]),
    );
    await new Client(sessions, cookie).request((session) => expect(session.user).toBeUndefined());
    expect(rejected).toHaveLength(2);
  });

  it("opens no record that differs in any bit, and none that was cut", () => {
    const transform = sealed([second, first]);
    const record = transform.apply(Buffer.from('\n{"user":"ada"}'), { key: "here" });
    for (let bit = 0; bit < record.byteLength * 8; bit++) {
      const changed = Buffer.from(record);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(() => transform.undo(changed, { key: "here" }), `bit ${bit}`).toThrow(RangeError);
    }
    for (let length = 0; length < record.byteLength; length++) {
      expect(() => transform.undo(record.subarray(0, length), { key: "here" })).toThrow(RangeError);
    }
    expect(() => transform.undo(record, { key: "there" })).toThrow("another session's record");
  });

  it.each([
    ["nothing", undefined, "undefined"],
    ["an empty ring", [], "no key"],
    ["a short key", "hunter2", "7 characters"],
    ["a key that is none", [first, 5], "a number"],
    ["one key twice", [first, first], "one key twice"],
  ])("refuses %s at start-up, without showing a key", (_what, keys, received) => {
    const refusal = (): unknown => sealed(keys as string[]);
    expect(refusal).toThrow(expect.objectContaining({ code: "ERR_SESSION_OPTION" }));
    expect(refusal).toThrow(received);
    expect(refusal).not.toThrow(first);
  });
});

describe("compressed()", () => {
  const text = Buffer.from(`\n${JSON.stringify({ list: Array(500).fill("again and again") })}`);

  it("makes large records smaller, and leaves alone what is small or does not shrink", () => {
    const transform = compressed({ above: 1000 });
    const large = transform.apply(text, { key: "k" });
    expect(large.byteLength).toBeLessThan(text.byteLength / 10);
    expect(Buffer.from(transform.undo(large, { key: "k" }))).toEqual(text);
    for (const bytes of [text.subarray(0, 1000), randomBytes(5000)]) {
      const same = transform.apply(bytes, { key: "k" });
      expect(same.byteLength).toBe(bytes.byteLength + 1);
      expect(Buffer.from(transform.undo(same, { key: "k" }))).toEqual(bytes);
    }
  });

  it("gives back any bytes, alone and under a seal", () => {
    const [small, seal] = [compressed({ above: 0 }), sealed(first)];
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.string({ minLength: 1 }), (bytes, key) => {
        const there = seal.apply(small.apply(bytes, { key }), { key });
        expect(Buffer.from(small.undo(seal.undo(there, { key }), { key }))).toEqual(Buffer.from(bytes));
      }),
      { numRuns: 300 },
    );
  });

  it("keeps more in a session than maxRecordSize would hold, sealed too", async () => {
    const store = memoryStore();
    const { sessions } = engine(store, [compressed(), sealed(first)], { maxRecordSize: 2048 });
    const list = Array(2000).fill("again and again");
    const { id, cookie } = await signIn(sessions, { list });
    expect((await bytesOf(store, id)).byteLength).toBeLessThan(1000);
    await new Client(sessions, cookie).request((session) => expect(session.list).toEqual(list));
  });

  it("refuses to write what it would refuse to read", async () => {
    const { sessions } = engine(memoryStore(), [compressed({ limit: 10_000 })]);
    await expect(signIn(sessions, { list: Array(2000).fill("again") })).rejects.toMatchObject({
      code: "ERR_SESSION_TOO_LARGE",
    });
  });

  it("takes a bomb, and what is no record of its own, for garbage", async () => {
    const store = memoryStore();
    const { sessions, rejected } = engine(store, [compressed()]);
    const { id, cookie } = await signIn(sessions, { user: "ada" });
    const bomb = Buffer.concat([Buffer.of(1), deflateRawSync(Buffer.alloc(100_000_000, 32))]);
    expect(bomb.byteLength).toBeLessThan(200_000);
    const garbage = [bomb, Buffer.from([1, 2, 3]), Buffer.from([7]), Buffer.alloc(0), bomb.subarray(0, 500)];
    const before = process.memoryUsage().rss;
    for (const bytes of garbage) {
      await put(store, id, bytes);
      await new Client(sessions, cookie).request((session) => expect(session.user).toBeUndefined());
    }
    expect(rejected.map(({ reason }) => reason)).toEqual(garbage.map(() => "garbage"));
    // Far from the 100 MB of the bomb.
    expect(process.memoryUsage().rss - before).toBeLessThan(50_000_000);
  });

  it.each([
    ["a number", 5, "compressed"],
    ["an unknown option", { over: 5 }, "compressed.over"],
    ["a threshold below zero", { above: -1 }, "compressed.above"],
    ["a limit of nothing", { limit: 0 }, "compressed.limit"],
  ])("refuses %s at start-up", (_what, options, name) => {
    expect(() => compressed(options as object)).toThrow(name);
  });
});
