/** Cases of the store contract: `remove` and the tombstones that it leaves. */
import assert from "node:assert/strict";
import type { EndReason } from "../store.ts";
import { assertExpired, type Check, create, hour, inTime, live, refused, type Stage, textOf } from "./contract-kit.ts";

const minute = 60_000;

/** Ends what stands under the key, with a tombstone for a minute. */
function end(stage: Stage, reason: EndReason = "logout", forMs = minute) {
  return stage.store.remove(stage.key, { reason, until: stage.clock.now() + forMs }, inTime());
}

async function assertTombstone(stage: Stage, reason: EndReason, expiresAt: number): Promise<void> {
  assert.deepEqual(await stage.store.read(stage.key, inTime()), { kind: "ended", reason, expiresAt });
}

/** Ends and tombstones. */
export const endingCases: readonly Check[] = [
  [
    "remove resolves to the record that stood there",
    async (stage) => {
      const version = await create(stage, live(stage.clock, "data"));
      const before = await end(stage);
      assert.ok(before?.kind === "live");
      assert.equal(before.version, version);
      assert.equal(before.expiresAt, stage.clock.now() + hour);
      assert.equal(textOf(before), "data");
    },
  ],
  [
    "a removed record reads as ended, with the reason and the end of the tombstone",
    async (stage) => {
      await create(stage);
      await end(stage, "revoked");
      await assertTombstone(stage, "revoked", stage.clock.now() + minute);
    },
  ],
  [
    "every reason comes back as given",
    async (stage) => {
      const reasons: EndReason[] = ["logout", "rotated", "renewed", "revoked", "evicted", "expired"];
      for (const reason of reasons) {
        const key = `${reason.padEnd(37, "0")}Reason`;
        await create(stage, live(stage.clock), key);
        await stage.store.remove(key, { reason, until: stage.clock.now() + minute }, inTime());
        const record = await stage.store.read(key, inTime());
        assert.deepEqual(record, { kind: "ended", reason, expiresAt: stage.clock.now() + minute });
      }
    },
  ],
  [
    "remove leaves a tombstone where nothing stood, and resolves to a miss",
    async (stage) => {
      assert.equal(await end(stage, "rotated"), undefined);
      await assertTombstone(stage, "rotated", stage.clock.now() + minute);
    },
  ],
  [
    "remove ends a record whatever its version, a moved one too",
    async (stage) => {
      await create(stage, live(stage.clock, "to", { kind: "moved" }));
      const before = await end(stage);
      assert.equal(before?.kind, "moved");
      assert.equal(textOf(before), "to");
      await assertTombstone(stage, "logout", stage.clock.now() + minute);
    },
  ],
  [
    "nothing is written over a tombstone, and the refusal returns it",
    async (stage) => {
      const { store, key, clock } = stage;
      const version = await create(stage);
      await end(stage);
      for (const expected of [version, "absent"]) {
        const current = refused(await store.write(key, live(clock, "late"), expected, inTime()));
        assert.deepEqual(current, { kind: "ended", reason: "logout", expiresAt: clock.now() + minute });
      }
      await assertTombstone(stage, "logout", clock.now() + minute);
    },
  ],
  [
    "a tombstone of reason expired protects as any other does",
    async (stage) => {
      await create(stage);
      await end(stage, "expired");
      refused(await stage.store.write(stage.key, live(stage.clock, "late"), "absent", inTime()));
      await assertTombstone(stage, "expired", stage.clock.now() + minute);
    },
  ],
  [
    "a touch of a tombstone is gone and changes nothing",
    async (stage) => {
      const { store, key, clock } = stage;
      const version = await create(stage);
      await end(stage);
      const stamp = { version, touchedAt: clock.now(), expiresAt: clock.now() + hour };
      assert.equal(await store.touch(key, stamp, inTime()), "gone");
      await assertTombstone(stage, "logout", clock.now() + minute);
    },
  ],
  [
    "a second remove keeps the first reason and resolves to the tombstone",
    async (stage) => {
      await create(stage);
      await end(stage, "logout");
      const before = await end(stage, "revoked");
      assert.deepEqual(before, { kind: "ended", reason: "logout", expiresAt: stage.clock.now() + minute });
      await assertTombstone(stage, "logout", stage.clock.now() + minute);
    },
  ],
  [
    "a second remove makes the tombstone last longer, never shorter",
    async (stage) => {
      const start = stage.clock.now();
      await end(stage, "logout");
      await end(stage, "revoked", 3 * minute);
      await assertTombstone(stage, "logout", start + 3 * minute);
      await end(stage, "revoked", minute);
      await assertTombstone(stage, "logout", start + 3 * minute);
    },
  ],
  [
    "a tombstone stands until the last millisecond before its end, and is a miss at it",
    async (stage) => {
      await create(stage);
      await end(stage);
      stage.clock.advance(minute - 1);
      assert.equal((await stage.store.read(stage.key, inTime()))?.kind, "ended");
      stage.clock.advance(1);
      assert.equal(await stage.store.read(stage.key, inTime()), undefined);
    },
  ],
  [
    "a tombstone outlives the deadline of the record that it replaced",
    async (stage) => {
      const { clock } = stage;
      await create(stage, live(clock, "", { expiresAt: clock.now() + 1_000 }));
      await end(stage, "revoked");
      clock.advance(30_000);
      await assertTombstone(stage, "revoked", clock.now() + 30_000);
    },
  ],
  [
    "after the tombstone the key is free again, for a creation only",
    async (stage) => {
      const { store, key, clock } = stage;
      const version = await create(stage);
      await end(stage);
      clock.advance(minute);
      assert.equal(refused(await store.write(key, live(clock, "late"), version, inTime())), undefined);
      await create(stage, live(clock, "new"));
    },
  ],
  [
    "after the tombstone a new end has its own reason",
    async (stage) => {
      await end(stage, "logout");
      stage.clock.advance(minute);
      assert.equal(await end(stage, "revoked"), undefined);
      await assertTombstone(stage, "revoked", stage.clock.now() + minute);
    },
  ],
  [
    "remove of an expired record leaves a tombstone and never resolves to a live one",
    async (stage) => {
      await create(stage);
      stage.clock.advance(hour);
      assertExpired(await end(stage, "logout"));
      await assertTombstone(stage, "logout", stage.clock.now() + minute);
    },
  ],
];
