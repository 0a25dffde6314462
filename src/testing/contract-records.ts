/** Cases of the store contract: what `read` and `write` do with records that are alive. */
import assert from "node:assert/strict";
import { accepted, type Check, create, hour, inTime, kept, live, refused, textOf, tooLate } from "./contract-kit.ts";

/** Reading and compare-and-set. */
export const recordCases: readonly Check[] = [
  [
    "a key without a record is a miss",
    async ({ store, key }) => {
      assert.equal(await store.read(key, inTime()), undefined);
    },
  ],
  [
    "a created record reads back live",
    async (stage) => {
      const version = await create(stage, live(stage.clock, "hello"));
      const record = await kept(stage);
      assert.equal(record.kind, "live");
      assert.equal(record.version, version);
      assert.equal(textOf(record), "hello");
    },
  ],
  [
    "all four times come back to the millisecond",
    async (stage) => {
      const now = stage.clock.now();
      const times = {
        createdAt: now - 7,
        touchedAt: now - 3,
        expiresAt: now + 12_345,
        absoluteExpiresAt: now + 98_765,
      };
      await create(stage, live(stage.clock, "", times));
      const { createdAt, touchedAt, expiresAt, absoluteExpiresAt } = await kept(stage);
      assert.deepEqual({ createdAt, touchedAt, expiresAt, absoluteExpiresAt }, times);
    },
  ],
  [
    "a record without an absolute deadline has null there",
    async (stage) => {
      await create(stage, live(stage.clock, "", { absoluteExpiresAt: null }));
      assert.equal((await kept(stage)).absoluteExpiresAt, null);
    },
  ],
  [
    "deadlines of a hundred years come back whole",
    async (stage) => {
      const expiresAt = stage.clock.now() + 100 * 365 * 24 * hour;
      await create(stage, live(stage.clock, "", { expiresAt, absoluteExpiresAt: expiresAt + 1 }));
      const record = await kept(stage);
      assert.equal(record.expiresAt, expiresAt);
      assert.equal(record.absoluteExpiresAt, expiresAt + 1);
    },
  ],
  [
    "a second creation is refused and returns the record that stands",
    async (stage) => {
      const version = await create(stage, live(stage.clock, "first"));
      const current = refused(await stage.store.write(stage.key, live(stage.clock, "second"), "absent", inTime()));
      assert.equal(textOf(current), "first");
      assert.equal(current?.kind === "live" && current.version, version);
      assert.equal(textOf(await kept(stage)), "first");
    },
  ],
  [
    "a write with the version that was read replaces the record",
    async (stage) => {
      await create(stage, live(stage.clock, "one"));
      const { version } = await kept(stage);
      accepted(await stage.store.write(stage.key, live(stage.clock, "two"), version, inTime()));
      assert.equal(textOf(await kept(stage)), "two");
    },
  ],
  [
    "a write replaces the times as well",
    async (stage) => {
      const version = await create(stage);
      const later = stage.clock.now() + 1_000;
      const times = { createdAt: later, touchedAt: later, expiresAt: later + hour, absoluteExpiresAt: null };
      accepted(await stage.store.write(stage.key, live(stage.clock, "", times), version, inTime()));
      const { createdAt, touchedAt, expiresAt, absoluteExpiresAt } = await kept(stage);
      assert.deepEqual({ createdAt, touchedAt, expiresAt, absoluteExpiresAt }, times);
    },
  ],
  [
    "each write gives a new version, equal bytes or not",
    async (stage) => {
      const record = live(stage.clock, "same");
      const versions = [await create(stage, record)];
      for (let round = 0; round < 10; round += 1) {
        const last = versions.at(-1) ?? "";
        versions.push(accepted(await stage.store.write(stage.key, record, last, inTime())));
      }
      assert.equal(new Set(versions).size, versions.length);
      assert.equal((await kept(stage)).version, versions.at(-1));
    },
  ],
  [
    "a write with an older version is refused and returns the newer record",
    async (stage) => {
      const first = await create(stage, live(stage.clock, "one"));
      const second = accepted(await stage.store.write(stage.key, live(stage.clock, "two"), first, inTime()));
      const current = refused(await stage.store.write(stage.key, live(stage.clock, "stale"), first, inTime()));
      assert.equal(textOf(current), "two");
      assert.equal(current?.kind === "live" && current.version, second);
      assert.equal(textOf(await kept(stage)), "two");
    },
  ],
  [
    "versions that no write gave are refused",
    async (stage) => {
      const version = await create(stage, live(stage.clock, "kept"));
      for (const wrong of ["", "0", `${version}x`, version.slice(0, -1), "AAAAAAAA", "ABSENT"]) {
        refused(await stage.store.write(stage.key, live(stage.clock, "forged"), wrong, inTime()));
      }
      assert.equal(textOf(await kept(stage)), "kept");
    },
  ],
  [
    "a write that expects a version never creates a record",
    async (stage) => {
      const version = await create(stage);
      const other = `${stage.key.slice(0, -6)}Other1`;
      assert.equal(refused(await stage.store.write(other, live(stage.clock), version, inTime())), undefined);
      assert.equal(await stage.store.read(other, inTime()), undefined);
    },
  ],
  [
    "a payload of all 256 byte values comes back byte for byte",
    async (stage) => {
      const payload = Uint8Array.from({ length: 512 }, (_, index) => index % 256);
      await create(stage, live(stage.clock, "", { payload }));
      assert.deepEqual(Buffer.from((await kept(stage)).payload), Buffer.from(payload));
    },
  ],
  [
    "a payload may be a window on a larger buffer",
    async (stage) => {
      const whole = Buffer.from("before|the payload|after");
      await create(stage, live(stage.clock, "", { payload: new Uint8Array(whole.subarray(7, 18)) }));
      assert.equal(textOf(await kept(stage)), "the payload");
      const window = new Uint8Array(whole.buffer, whole.byteOffset + 7, 11);
      const other = `${stage.key.slice(0, -6)}Other1`;
      await create(stage, live(stage.clock, "", { payload: window }), other);
      assert.equal(textOf(await kept(stage, other)), "the payload");
    },
  ],
  [
    "an empty payload comes back empty",
    async (stage) => {
      await create(stage, live(stage.clock, ""));
      assert.equal((await kept(stage)).payload.byteLength, 0);
    },
  ],
  [
    "a payload of one megabyte comes back whole",
    async (stage) => {
      const payload = Buffer.alloc(1_048_576, "holdfast ");
      await create(stage, live(stage.clock, "", { payload }));
      assert.ok(payload.equals((await kept(stage)).payload), "1 MB must come back byte for byte");
    },
  ],
  [
    "records under different keys don't see each other",
    async (stage) => {
      const keys = [stage.key, `${stage.key.slice(0, -1)}A`, `A${stage.key.slice(1)}`, stage.key.toLowerCase()];
      for (const [index, key] of keys.entries()) await create(stage, live(stage.clock, `of ${index}`), key);
      for (const [index, key] of keys.entries()) assert.equal(textOf(await kept(stage, key)), `of ${index}`);
    },
  ],
  [
    "keys with every base64url character work",
    async (stage) => {
      const keys = ["abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ", "RSTUVWXYZ0123456789-_abcdefghijklmnopqrs-_-"];
      for (const key of keys) await create(stage, live(stage.clock, key), key);
      for (const key of keys) assert.equal(textOf(await kept(stage, key)), key);
    },
  ],
  [
    "a moved record reads back as moved, with its payload",
    async (stage) => {
      const version = await create(stage, live(stage.clock, "data"));
      accepted(await stage.store.write(stage.key, live(stage.clock, "to", { kind: "moved" }), version, inTime()));
      const record = await kept(stage);
      assert.equal(record.kind, "moved");
      assert.equal(textOf(record), "to");
    },
  ],
  [
    "a moved record refuses the version that it replaced, and creation",
    async (stage) => {
      const version = await create(stage, live(stage.clock, "data"));
      accepted(await stage.store.write(stage.key, live(stage.clock, "to", { kind: "moved" }), version, inTime()));
      for (const expected of [version, "absent"]) {
        const current = refused(await stage.store.write(stage.key, live(stage.clock, "late"), expected, inTime()));
        assert.equal(current?.kind, "moved");
        assert.equal(textOf(current), "to");
      }
    },
  ],
  [
    "nothing starts once the caller has given up",
    async (stage) => {
      const { store, key, clock } = stage;
      const version = await create(stage, live(clock, "kept"));
      const end = { reason: "logout", until: clock.now() + hour } as const;
      const stamp = { version, touchedAt: clock.now() + 1, expiresAt: clock.now() + 2 * hour };
      await assert.rejects(store.read(key, tooLate()));
      await assert.rejects(store.write(key, live(clock, "late"), version, tooLate()));
      await assert.rejects(store.touch(key, stamp, tooLate()));
      await assert.rejects(store.remove(key, end, tooLate()));
      const record = await kept(stage);
      assert.equal(textOf(record), "kept");
      assert.equal(record.version, version);
    },
  ],
  [
    "a durable call does what another does",
    async (stage) => {
      const { store, key, clock } = stage;
      const version = accepted(await store.write(key, live(clock, "one"), "absent", inTime(true)));
      accepted(await store.write(key, live(clock, "two"), version, inTime(true)));
      assert.equal(
        textOf(await store.remove(key, { reason: "logout", until: clock.now() + hour }, inTime(true))),
        "two",
      );
    },
  ],
];
