/** Cases of the store contract: deadlines, `touch`, and the store's clock. */
import assert from "node:assert/strict";
import {
  accepted,
  assertExpired,
  type Check,
  create,
  hour,
  inTime,
  kept,
  live,
  refused,
  textOf,
} from "./contract-kit.ts";

/** Expiry by the clock, and what moves it. */
export const lifetimeCases: readonly Check[] = [
  [
    "the store's clock is the one that it was given",
    async ({ store, clock }) => {
      assert.equal(store.now(), clock.now());
      clock.advance(5 * hour + 1);
      assert.equal(store.now(), clock.now());
    },
  ],
  [
    "a record lives until the last millisecond before its idle deadline, and is dead at it",
    async (stage) => {
      await create(stage, live(stage.clock, "", { absoluteExpiresAt: null }));
      stage.clock.advance(hour - 1);
      assert.equal((await kept(stage)).kind, "live");
      stage.clock.advance(1);
      assertExpired(await stage.store.read(stage.key, inTime()));
    },
  ],
  [
    "a record is dead at its absolute deadline, however late the idle one is",
    async (stage) => {
      const now = stage.clock.now();
      await create(stage, live(stage.clock, "", { expiresAt: now + 10 * hour, absoluteExpiresAt: now + 2 * hour }));
      stage.clock.advance(2 * hour - 1);
      assert.equal((await kept(stage)).kind, "live");
      stage.clock.advance(1);
      assertExpired(await stage.store.read(stage.key, inTime()));
    },
  ],
  [
    "a moved record is dead at its deadline, too",
    async (stage) => {
      await create(stage, live(stage.clock, "to", { kind: "moved" }));
      stage.clock.advance(hour);
      assertExpired(await stage.store.read(stage.key, inTime()));
    },
  ],
  [
    "an expired record counts as absent for a creation",
    async (stage) => {
      await create(stage, live(stage.clock, "old"));
      stage.clock.advance(hour);
      await create(stage, live(stage.clock, "new"));
      assert.equal(textOf(await kept(stage)), "new");
    },
  ],
  [
    "an expired record refuses a write that read it alive",
    async (stage) => {
      const version = await create(stage);
      stage.clock.advance(hour);
      assertExpired(refused(await stage.store.write(stage.key, live(stage.clock), version, inTime())));
      assertExpired(await stage.store.read(stage.key, inTime()));
    },
  ],
  [
    "a record born past its deadline is never live",
    async (stage) => {
      await stage.store.write(stage.key, live(stage.clock, "", { expiresAt: stage.clock.now() }), "absent", inTime());
      assertExpired(await stage.store.read(stage.key, inTime()));
    },
  ],
  [
    "a write extends the lifetime by its own deadlines",
    async (stage) => {
      const version = await create(stage);
      stage.clock.advance(hour - 1);
      accepted(await stage.store.write(stage.key, live(stage.clock), version, inTime()));
      stage.clock.advance(hour - 1);
      assert.equal((await kept(stage)).kind, "live");
    },
  ],
  [
    "a touch moves touchedAt and expiresAt, and nothing else",
    async (stage) => {
      const { store, key, clock } = stage;
      const version = await create(stage, live(clock, "data"));
      const before = await kept(stage);
      clock.advance(hour / 2);
      const stamp = { version, touchedAt: clock.now(), expiresAt: clock.now() + hour };
      assert.equal(await store.touch(key, stamp, inTime()), "touched");
      const after = await kept(stage);
      assert.deepEqual({ ...after, payload: textOf(after) }, { ...before, ...stamp, payload: "data" });
    },
  ],
  [
    "a touched record outlives its first deadline and dies at the new one",
    async (stage) => {
      const { store, key, clock } = stage;
      const version = await create(stage);
      clock.advance(hour / 2);
      await store.touch(key, { version, touchedAt: clock.now(), expiresAt: clock.now() + hour }, inTime());
      clock.advance(hour - 1);
      assert.equal((await kept(stage)).kind, "live");
      clock.advance(1);
      assertExpired(await store.read(key, inTime()));
    },
  ],
  [
    "a touch never moves the absolute deadline",
    async (stage) => {
      const { store, key, clock } = stage;
      const absoluteExpiresAt = clock.now() + 2 * hour;
      const version = await create(stage, live(clock, "", { absoluteExpiresAt }));
      const stamp = { version, touchedAt: clock.now(), expiresAt: clock.now() + 50 * hour };
      assert.equal(await store.touch(key, stamp, inTime()), "touched");
      assert.equal((await kept(stage)).absoluteExpiresAt, absoluteExpiresAt);
      clock.advance(2 * hour);
      assertExpired(await store.read(key, inTime()));
    },
  ],
  [
    "a touch keeps the version, so that a write with it still wins",
    async (stage) => {
      const { store, key, clock } = stage;
      const version = await create(stage);
      await store.touch(key, { version, touchedAt: clock.now() + 1, expiresAt: clock.now() + 2 * hour }, inTime());
      accepted(await store.write(key, live(clock, "after the touch"), version, inTime()));
      assert.equal(textOf(await kept(stage)), "after the touch");
    },
  ],
  [
    "a touch with an older version is superseded and changes nothing",
    async (stage) => {
      const { store, key, clock } = stage;
      const first = await create(stage);
      accepted(await store.write(key, live(clock, "newer"), first, inTime()));
      const before = await kept(stage);
      const stamp = { version: first, touchedAt: clock.now() + 1, expiresAt: clock.now() + 9 * hour };
      assert.equal(await store.touch(key, stamp, inTime()), "superseded");
      assert.deepEqual(await kept(stage), before);
    },
  ],
  [
    "the same touch twice is the same as once",
    async (stage) => {
      const { store, key, clock } = stage;
      const version = await create(stage);
      const stamp = { version, touchedAt: clock.now() + 5, expiresAt: clock.now() + 2 * hour };
      assert.equal(await store.touch(key, stamp, inTime()), "touched");
      assert.equal(await store.touch(key, stamp, inTime()), "touched");
      assert.equal((await kept(stage)).expiresAt, stamp.expiresAt);
    },
  ],
  [
    "a touch of nothing is gone and creates nothing",
    async ({ store, clock, key }) => {
      const stamp = { version: "AAAAAAAA", touchedAt: clock.now(), expiresAt: clock.now() + hour };
      assert.equal(await store.touch(key, stamp, inTime()), "gone");
      assert.equal(await store.read(key, inTime()), undefined);
    },
  ],
  [
    "a touch of an expired record is gone and does not revive it",
    async (stage) => {
      const { store, key, clock } = stage;
      const version = await create(stage);
      clock.advance(hour);
      const stamp = { version, touchedAt: clock.now(), expiresAt: clock.now() + hour };
      assert.equal(await store.touch(key, stamp, inTime()), "gone");
      assertExpired(await store.read(key, inTime()));
    },
  ],
  [
    "a touch of a moved record is gone and extends nothing",
    async (stage) => {
      const { store, key, clock } = stage;
      const version = await create(stage, live(clock, "to", { kind: "moved" }));
      const stamp = { version, touchedAt: clock.now(), expiresAt: clock.now() + 9 * hour };
      assert.equal(await store.touch(key, stamp, inTime()), "gone");
      assert.equal((await kept(stage)).expiresAt, clock.now() + hour);
    },
  ],
];
