/** The memory store keeps the store contract, stays within its bound, and keeps no process alive. */
import { describe, expect, test } from "vitest";
import type { Store } from "../../src/store.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { accepted, hour, inTime, live, refused } from "../../src/testing/contract-kit.ts";
import { type ManualClock, manualClock } from "../../src/testing/manual-clock.ts";
import { runStoreContract } from "../contract/store.ts";

runStoreContract("memoryStore", async (clock) => {
  const store = memoryStore({ clock: () => clock.now() });
  return { store, end: async () => store.close?.() };
});

function create(store: Store, key: string, clock: ManualClock) {
  return store.write(key, live(clock), "absent", inTime());
}

describe("a full memory store", () => {
  test("refuses a new session, and keeps the live ones", async () => {
    const clock = manualClock();
    const store = memoryStore({ max: 2, clock: () => clock.now() });
    const version = accepted(await create(store, "a", clock));
    accepted(await create(store, "b", clock));
    await expect(create(store, "c", clock)).rejects.toMatchObject({ code: "ERR_SESSION_STORE_FULL", status: 503 });
    await expect(create(store, "c", clock)).rejects.toThrow(/holds 2 live sessions: raise its option max/);
    accepted(await store.write("a", live(clock), version, inTime()));
    for (const key of ["a", "b"]) expect(await store.read(key, inTime())).toMatchObject({ kind: "live" });
    expect(await store.read("c", inTime())).toBeUndefined();
    await store.close?.();
  });

  test("gives the places of expired sessions to new ones", async () => {
    const clock = manualClock();
    const store = memoryStore({ max: 2, clock: () => clock.now() });
    await create(store, "a", clock);
    clock.advance(hour / 2);
    await create(store, "b", clock);
    clock.advance(hour / 2);
    accepted(await create(store, "c", clock));
    await expect(create(store, "d", clock)).rejects.toMatchObject({ code: "ERR_SESSION_STORE_FULL" });
    await store.close?.();
  });

  test("gives the place of an ended session to a new one", async () => {
    const clock = manualClock();
    const store = memoryStore({ max: 1, clock: () => clock.now() });
    await create(store, "a", clock);
    await store.remove("a", { reason: "logout", until: clock.now() + hour }, inTime());
    accepted(await create(store, "b", clock));
    expect(await store.read("a", inTime())).toMatchObject({ kind: "ended" });
    await store.close?.();
  });

  test("bounds the tombstones, too, and drops the oldest first", async () => {
    const clock = manualClock();
    const store = memoryStore({ max: 3, clock: () => clock.now() });
    for (const key of ["a", "b", "c", "d", "e"]) {
      await store.remove(key, { reason: "logout", until: clock.now() + hour }, inTime());
    }
    const found = await Promise.all(["a", "b", "c", "d", "e"].map((key) => store.read(key, inTime())));
    expect(found.map((record) => record?.kind)).toEqual([undefined, undefined, "ended", "ended", "ended"]);
    await store.close?.();
  });
});

test("a record does not change with the bytes that it was made from", async () => {
  const clock = manualClock();
  const store = memoryStore({ clock: () => clock.now() });
  const payload = Buffer.from("before");
  await store.write("a", live(clock, "", { payload }), "absent", inTime());
  payload.write("after!");
  const current = refused(await create(store, "a", clock));
  expect(current?.kind === "live" && Buffer.from(current.payload).toString()).toBe("before");
  await store.close?.();
});

test("the timer keeps no process alive", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = timers();
  const store = memoryStore();
  await create(store, "a", manualClock());
  expect(timers()).toBe(before);
  const control = setTimeout(() => {}, 1_000);
  expect(timers()).toBe(before + 1);
  clearTimeout(control);
  await store.close?.();
});

test("expired records leave the memory by themselves", async () => {
  const store = memoryStore({ max: 1 });
  const now = store.now();
  const stamps = { createdAt: now, touchedAt: now, expiresAt: now + 10, absoluteExpiresAt: null };
  let payload: Uint8Array | undefined = Buffer.from("x");
  await store.write("a", { kind: "live", ...stamps, payload }, "absent", inTime());
  payload = undefined;
  // A miss, and no longer "ended": nothing but the sweep has touched it.
  await expect.poll(() => store.read("a", inTime())).toBeUndefined();
  await store.close?.();
});

describe("a wrong option is refused", () => {
  const open = memoryStore as (options: unknown) => Store;
  test.each([
    [{ max: 0 }, /max: received 0; write a whole number/],
    [{ max: 1.5 }, /max: received 1.5/],
    [{ max: "9" }, /max: received 9/],
    [{ clock: 5 }, /clock: received 5/],
    [{ ttl: 5 }, /ttl: received an unknown option; there are max, clock/],
  ])("%j", (options, message) => {
    expect(() => open(options)).toThrow(expect.objectContaining({ code: "ERR_SESSION_OPTION" }));
    expect(() => open(options)).toThrow(message);
  });
});
