/**
 * Cases of the store contract: `peek`, of stores that keep copies. It may have nothing to say at any time; what it says
 * must be what `read` would. Run by `store-contract.ts`.
 */
import assert from "node:assert/strict";
import type { LiveRecord, Store } from "../store.ts";
import { accepted, create, hour, inTime, kept, live, type Stage, textOf } from "./contract-kit.ts";

type Peek = NonNullable<Store["peek"]>;

/** Looking at a copy without asking. */
export const peekCases: readonly (readonly [name: string, check: (stage: Stage, peek: Peek) => Promise<void>])[] = [
  [
    "nothing is seen where nothing stands",
    async (stage, peek) => {
      assert.equal(peek(stage.key), undefined);
      assert.equal(await stage.store.read(stage.key, inTime()), undefined);
      assert.equal(peek(stage.key), undefined);
    },
  ],
  [
    "what is seen is what was written and touched last",
    async (stage, peek) => {
      const { store, key, clock } = stage;
      const first = await create(stage, live(clock, "one"));
      await kept(stage);
      assertCurrent(peek(key), { version: first, text: "one" });
      const second = accepted(await store.write(key, live(clock, "two"), first, inTime()));
      assertCurrent(peek(key), { version: second, text: "two" });
      await kept(stage);
      assertCurrent(peek(key), { version: second, text: "two" });
      clock.advance(60_000);
      const expiresAt = clock.now() + hour;
      assert.equal(await store.touch(key, { version: second, touchedAt: clock.now(), expiresAt }, inTime()), "touched");
      const seen = peek(key);
      if (seen !== undefined) assert.equal(seen.expiresAt, expiresAt);
    },
  ],
  [
    "nothing is seen from either deadline on",
    async (stage, peek) => {
      const { clock, key } = stage;
      const other = `${key.slice(0, -6)}Other1`;
      const now = clock.now();
      await create(stage, live(clock, "idle"));
      await create(stage, live(clock, "absolute", { expiresAt: now + 9 * hour, absoluteExpiresAt: now + hour }), other);
      await Promise.all([kept(stage), kept(stage, other)]);
      clock.advance(hour);
      assert.equal(peek(key), undefined);
      assert.equal(peek(other), undefined);
    },
  ],
  [
    "nothing is seen of what was removed or moved",
    async (stage, peek) => {
      const { store, key, clock } = stage;
      const other = `${key.slice(0, -6)}Other1`;
      const version = await create(stage);
      await create(stage, live(clock), other);
      await Promise.all([kept(stage), kept(stage, other)]);
      accepted(await store.write(key, live(clock, "to", { kind: "moved" }), version, inTime()));
      await store.remove(other, { reason: "logout", until: clock.now() + hour }, inTime());
      for (const at of [key, other]) {
        assert.equal(peek(at), undefined);
        await store.read(at, inTime());
        assert.equal(peek(at), undefined);
      }
    },
  ],
];

function assertCurrent(seen: LiveRecord | undefined, expected: { version: string; text: string }): void {
  if (seen === undefined) return;
  assert.equal(seen.kind, "live");
  assert.deepEqual({ version: seen.version, text: textOf(seen) }, expected);
}
