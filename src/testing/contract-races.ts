/** Cases of the store contract: what parallel calls on one key come to. */
import assert from "node:assert/strict";
import type { WriteResult } from "../store.ts";
import { accepted, type Check, create, hour, inTime, kept, live, refused, textOf } from "./contract-kit.ts";

const writers = Array.from({ length: 20 }, (_, index) => index);

/** The one result that was accepted, with its place. */
function soleWinner(results: WriteResult[]): { index: number; version: string } {
  const winners = results.flatMap((result, index) => (result.ok ? [{ index, version: result.version }] : []));
  assert.equal(winners.length, 1, `exactly one of ${results.length} must win, ${winners.length} did`);
  const [winner] = winners;
  assert.ok(winner);
  return winner;
}

/** Parallel calls. */
export const raceCases: readonly Check[] = [
  [
    "of 20 parallel writes with one version exactly one wins, and the others see it",
    async (stage) => {
      const version = await create(stage);
      const results = await Promise.all(
        writers.map((index) => stage.store.write(stage.key, live(stage.clock, `by ${index}`), version, inTime())),
      );
      const winner = soleWinner(results);
      const record = await kept(stage);
      assert.equal(textOf(record), `by ${winner.index}`);
      assert.equal(record.version, winner.version);
      for (const result of results) if (!result.ok) assert.equal(textOf(refused(result)), `by ${winner.index}`);
    },
  ],
  [
    "of 20 parallel creations exactly one wins",
    async (stage) => {
      const results = await Promise.all(
        writers.map((index) => stage.store.write(stage.key, live(stage.clock, `by ${index}`), "absent", inTime())),
      );
      assert.equal(textOf(await kept(stage)), `by ${soleWinner(results).index}`);
    },
  ],
  [
    "20 writers that retry with what beat them lose nothing",
    async (stage) => {
      const { store, key, clock } = stage;
      await create(stage, live(clock, "0"));
      const addOne = async (): Promise<void> => {
        let { version, payload } = await kept(stage);
        for (;;) {
          const next = String(Number(Buffer.from(payload).toString("utf8")) + 1);
          const result = await store.write(key, live(clock, next), version, inTime());
          if (result.ok) return;
          assert.ok(result.current?.kind === "live");
          ({ version, payload } = result.current);
        }
      };
      await Promise.all(writers.map(addOne));
      assert.equal(textOf(await kept(stage)), "20");
    },
  ],
  [
    "a removal among parallel writes and touches is final",
    async (stage) => {
      const { store, key, clock } = stage;
      const version = await create(stage);
      const stamp = { version, touchedAt: clock.now() + 1, expiresAt: clock.now() + 2 * hour };
      await Promise.all([
        ...writers.map((index) => store.write(key, live(clock, `by ${index}`), version, inTime())),
        store.remove(key, { reason: "logout", until: clock.now() + hour }, inTime()),
        ...writers.map(() => store.touch(key, stamp, inTime())),
        ...writers.map((index) => store.write(key, live(clock, `back ${index}`), "absent", inTime())),
      ]);
      const record = await store.read(key, inTime());
      assert.deepEqual(record, { kind: "ended", reason: "logout", expiresAt: clock.now() + hour });
    },
  ],
  [
    "of 20 parallel removals one reason stands, and one saw the session",
    async (stage) => {
      const { store, key, clock } = stage;
      await create(stage);
      const until = clock.now() + hour;
      const befores = await Promise.all(writers.map(() => store.remove(key, { reason: "revoked", until }, inTime())));
      assert.equal(befores.filter((before) => before?.kind === "live").length, 1);
      assert.equal(befores.filter((before) => before?.kind === "ended").length, writers.length - 1);
    },
  ],
  [
    "of parallel touches the latest stays",
    async (stage) => {
      const { store, key, clock } = stage;
      const version = await create(stage);
      const now = clock.now();
      const touches = writers.map((index) => ({ version, touchedAt: now + index, expiresAt: now + hour + index }));
      await Promise.all(touches.reverse().map((stamp) => store.touch(key, stamp, inTime())));
      const record = await kept(stage);
      assert.equal(record.touchedAt, now + writers.length - 1);
      assert.equal(record.expiresAt, now + hour + writers.length - 1);
      accepted(await store.write(key, live(clock), version, inTime()));
    },
  ],
];
