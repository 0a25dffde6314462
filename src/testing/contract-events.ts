/** Cases of the ports behind reliable events, for stores that have them: endings told, expiries claimed. */
import assert from "node:assert/strict";
import type { Ending, Endings } from "../endings.ts";
import type { ExpiryIndex } from "../expiry-index.ts";
import { create, hour, inTime, live, type Stage } from "./contract-kit.ts";

/** A case of stores that have one of them. */
export type CapabilityCheck<C> = readonly [name: string, check: (stage: Stage, capability: C) => Promise<void>];

/** A public id that differs in its first characters. */
function id(name: string): string {
  return name.padEnd(43, "x");
}

/** All that is due, of every part. */
async function claimAll(index: ExpiryIndex, lease: number, most = 100): Promise<string[]> {
  const parts = Array.from({ length: index.shards }, (_, shard) => index.claim(shard, { lease, most }, inTime()));
  return (await Promise.all(parts)).flatMap(({ ids }) => ids).sort();
}

/** Cases of the expiry index. */
export const expiryCases: readonly CapabilityCheck<ExpiryIndex>[] = [
  [
    "a session is due at its time and not before, and moved to its last time only",
    async ({ clock }, index) => {
      const start = clock.now();
      await index.schedule(id("a"), start + 1_000, inTime());
      await index.schedule(id("b"), start + 1_000, inTime());
      await index.schedule(id("b"), start + 2_000, inTime());
      clock.advance(999);
      assert.deepEqual(await claimAll(index, clock.now() + 30_000), []);
      clock.advance(1);
      assert.deepEqual(await claimAll(index, clock.now() + 30_000), [id("a")]);
      clock.advance(1_000);
      assert.deepEqual(await claimAll(index, clock.now() + 30_000), [id("b")]);
    },
  ],
  [
    "what is leased is nobody else's until the lease lapses, and gone once it is settled",
    async ({ clock }, index) => {
      for (const name of ["a", "b", "c"]) await index.schedule(id(name), clock.now(), inTime());
      const lease = clock.now() + 30_000;
      assert.deepEqual(await claimAll(index, lease), [id("a"), id("b"), id("c")]);
      assert.deepEqual(await claimAll(index, lease), []);
      assert.equal(await index.settle(id("a"), lease, undefined, inTime()), true);
      assert.equal(await index.settle(id("a"), lease, undefined, inTime()), false);
      assert.equal(await index.settle(id("b"), lease, clock.now() + hour, inTime()), true);
      clock.advance(30_000);
      assert.deepEqual(await claimAll(index, clock.now() + 30_000), [id("c")]);
      assert.equal(await index.settle(id("c"), lease, undefined, inTime()), false, "the lease was another's by then");
      clock.advance(hour);
      assert.deepEqual(await claimAll(index, clock.now() + 30_000), [id("b"), id("c")]);
    },
  ],
  [
    "of 20 parallel claims each session goes to one",
    async ({ clock }, index) => {
      const names = Array.from({ length: 40 }, (_, at) => id(`${at}s`)).sort();
      for (const name of names) await index.schedule(name, clock.now(), inTime());
      const lease = clock.now() + 30_000;
      const claims = await Promise.all(Array.from({ length: 20 }, () => claimAll(index, lease)));
      assert.deepEqual(claims.flat().sort(), names);
    },
  ],
  [
    "a claim takes no more than it asks for, and says when the next is due; what was cancelled is never due",
    async ({ clock }, index) => {
      const at = clock.now();
      for (const name of ["a1", "a2", "a3"]) await index.schedule(id(name), at, inTime());
      await index.cancel(id("a2"), inTime());
      await index.cancel(id("nobody"), inTime());
      const taken = await claimAll(index, at + 30_000, 1);
      const rest = await claimAll(index, at + 30_000, 1);
      assert.deepEqual([...taken, ...rest].sort(), [id("a1"), id("a3")]);
      const parts = Array.from({ length: index.shards }, (_, shard) =>
        index.claim(shard, { lease: at, most: 1 }, inTime()),
      );
      const next = (await Promise.all(parts)).flatMap(({ nextAt }) => nextAt ?? []);
      assert.deepEqual([...new Set(next)], [at + 30_000]);
    },
  ],
];

/** Listens until the case is over; what is heard is in `heard`. */
async function ear(
  endings: Endings,
): Promise<{ heard: Ending[]; stop(): Promise<void>; until(count: number): Promise<void> }> {
  const heard: Ending[] = [];
  let isListening = (): void => {};
  const listening = new Promise<void>((resolve) => {
    isListening = resolve;
  });
  let tell = (): void => {};
  const stop = endings.listen({
    ended: (ending) => {
      heard.push(ending);
      tell();
    },
    listening: () => isListening(),
  });
  await listening;
  const until = async (count: number): Promise<void> => {
    while (heard.length < count) {
      await new Promise<void>((resolve) => {
        tell = resolve;
      });
    }
  };
  return { heard, stop, until };
}

/** Cases of the endings. */
export const announcingCases: readonly CapabilityCheck<Endings>[] = [
  [
    "every end of a live record is told to all who listen, with its reason, and only once",
    async (stage, endings) => {
      const { store, clock, key } = stage;
      const ears = await Promise.all([ear(endings), ear(endings)]);
      const until = clock.now() + hour;
      const last = `${key.slice(0, -1)}0`;
      await create(stage);
      await create(stage, live(clock), last);
      await store.remove(id("nobody"), { reason: "logout", until }, inTime());
      await store.remove(key, { reason: "evicted", until }, inTime());
      await store.remove(key, { reason: "revoked", until }, inTime());
      await store.remove(last, { reason: "logout", until }, inTime());
      for (const { heard, until: heardOf, stop } of ears) {
        await heardOf(2);
        // Two keys may live on two servers, whose words overtake each other.
        const inOrder = heard.toSorted((one, other) => one.reason.localeCompare(other.reason));
        assert.deepEqual(inOrder, [
          { key, reason: "evicted" },
          { key: last, reason: "logout" },
        ]);
        await stop();
      }
    },
  ],
  [
    "a live record that a moved one replaces is told as moved, a save is not told",
    async (stage, endings) => {
      const { store, clock, key } = stage;
      const { heard, until, stop } = await ear(endings);
      const version = await create(stage);
      const saved = await store.write(key, live(clock, "2"), version, inTime());
      assert.ok(saved.ok);
      await store.write(key, live(clock, "", { kind: "moved" }), saved.version, inTime());
      await until(1);
      assert.deepEqual(heard, [{ key, reason: "moved" }]);
      await stop();
    },
  ],
];
