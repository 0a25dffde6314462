/** Cases of the principal index port, for stores that have it: naming, limits, bars, lapsing. */
import assert from "node:assert/strict";
import type { Entering, IndexEntry, PrincipalIndex } from "../principal-index.ts";
import { hour, inTime, type Stage } from "./contract-kit.ts";

const owner = "u0wQzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";
const other = "u1wQzI0aV_x3bK7mWc2tR8sYh5dLp1uEoGjNnBvAqTk";

/** What a case works with. */
interface IndexStage extends Stage {
  index: PrincipalIndex;
}

/** A case of stores that have the index. */
export type PrincipalCheck = readonly [name: string, check: (stage: IndexStage) => Promise<void>];

/** A public id that differs in its first characters. */
function id(name: string): string {
  return name.padEnd(43, "x");
}

function entering({ clock }: IndexStage, name: string, more: Partial<Entering> = {}): Entering {
  return { id: id(name), until: clock.now() + 10_000, beganAt: clock.now(), ...more };
}

/** Enters and confirms, as for a session that was written. */
async function named(stage: IndexStage, name: string, until: number = stage.clock.now() + hour): Promise<void> {
  const { index } = stage;
  const { outcome } = await index.enter(owner, entering(stage, name), inTime());
  assert.equal(outcome, "entered");
  assert.equal(await index.confirm(owner, { id: id(name), until }, inTime()), true);
}

async function ids({ index }: IndexStage, of: string = owner): Promise<string[]> {
  return idsOf(await index.list(of, inTime()));
}

function idsOf(entries: IndexEntry[]): string[] {
  return entries.map((entry) => entry.id);
}

/** The cases. */
export const principalCases: readonly PrincipalCheck[] = [
  [
    "a user without sessions has an empty list",
    async (stage) => {
      assert.deepEqual(await ids(stage), []);
    },
  ],
  [
    "what was entered is named at once, under its own user only, the first to lapse first",
    async (stage) => {
      const { index, clock } = stage;
      await named(stage, "late", clock.now() + 3 * hour);
      await named(stage, "soon", clock.now() + hour);
      await index.enter(owner, entering(stage, "pending"), inTime());
      const listed = (await index.list(owner, inTime())).map(({ name: _opaque, ...entry }) => entry);
      assert.deepEqual(listed, [
        { id: id("pending"), until: clock.now() + 10_000, isConfirmed: false },
        { id: id("soon"), until: clock.now() + hour, isConfirmed: true },
        { id: id("late"), until: clock.now() + 3 * hour, isConfirmed: true },
      ]);
      assert.deepEqual(await ids(stage, other), []);
    },
  ],
  [
    "a name that nobody confirms lapses, and one that is confirmed stays until its deadline",
    async (stage) => {
      const { index, clock } = stage;
      await index.enter(owner, entering(stage, "crashed"), inTime());
      await named(stage, "written");
      clock.advance(9_999);
      assert.deepEqual(await ids(stage), [id("crashed"), id("written")]);
      clock.advance(1);
      assert.deepEqual(await ids(stage), [id("written")]);
      clock.advance(hour - 10_001);
      assert.deepEqual(await ids(stage), [id("written")]);
      clock.advance(1);
      assert.deepEqual(await ids(stage), []);
    },
  ],
  [
    "what was removed can't be confirmed, what is entered twice is one, what is removed twice is no error",
    async (stage) => {
      const { index, clock } = stage;
      const deadline = clock.now() + hour;
      await index.enter(owner, entering(stage, "a"), inTime());
      await index.enter(owner, entering(stage, "a"), inTime());
      await index.enter(owner, entering(stage, "b"), inTime());
      await index.remove(owner, [id("a"), id("nobody")], inTime());
      await index.remove(owner, [id("a")], inTime());
      assert.equal(await index.confirm(owner, { id: id("a"), until: deadline }, inTime()), false);
      assert.equal(await index.confirm(owner, { id: id("b"), until: deadline }, inTime()), true);
      assert.equal(await index.confirm(owner, { id: id("b"), until: deadline }, inTime()), true);
      assert.deepEqual(await ids(stage), [id("b")]);
    },
  ],
  [
    "a refresh moves the deadline, and gives a lost name back",
    async (stage) => {
      const { index, clock } = stage;
      await named(stage, "a");
      await index.refresh(owner, { id: id("a"), until: clock.now() + 2 * hour }, inTime());
      await index.refresh(owner, { id: id("lost"), until: clock.now() + 2 * hour }, inTime());
      clock.advance(hour);
      assert.deepEqual((await ids(stage)).sort(), [id("a"), id("lost")]);
      clock.advance(hour);
      assert.deepEqual(await ids(stage), []);
    },
  ],
  [
    "a user at the limit is told so with all names, and the limit counts what is not confirmed yet",
    async (stage) => {
      const { index } = stage;
      await named(stage, "a");
      await index.enter(owner, entering(stage, "b", { most: 2 }), inTime());
      const full = await index.enter(owner, entering(stage, "c", { most: 2 }), inTime());
      assert.ok(full.outcome === "full");
      assert.deepEqual(idsOf(full.entries), [id("b"), id("a")]);
      assert.deepEqual(await ids(stage), [id("b"), id("a")]);
      const again = await index.enter(owner, entering(stage, "b", { most: 2 }), inTime());
      assert.equal(again.outcome, "entered", "a repeated call is no second session");
      await index.remove(owner, [id("b")], inTime());
      assert.equal((await index.enter(owner, entering(stage, "c", { most: 2 }), inTime())).outcome, "entered");
    },
  ],
  [
    "of 20 parallel entries as many as may be are entered",
    async (stage) => {
      const entries = Array.from({ length: 20 }, (_, index) => entering(stage, `${index}`, { most: 3 }));
      const results = await Promise.all(entries.map((entry) => stage.index.enter(owner, entry, inTime())));
      assert.equal(results.filter(({ outcome }) => outcome === "entered").length, 3);
      assert.equal((await ids(stage)).length, 3);
    },
  ],
  [
    "a session that replaces another counts as that one until it is confirmed, and takes its place then",
    async (stage) => {
      const { index, clock } = stage;
      await named(stage, "old");
      const next = entering(stage, "new", { replaces: id("old"), most: 1 });
      assert.equal((await index.enter(owner, next, inTime())).outcome, "entered");
      assert.deepEqual((await ids(stage)).sort(), [id("new"), id("old")]);
      const full = await index.enter(owner, entering(stage, "third", { most: 2 }), inTime());
      assert.equal(full.outcome, "entered", "two names, but one session");
      const until = clock.now() + hour;
      assert.equal(await index.confirm(owner, { id: id("new"), until, replaces: id("old") }, inTime()), true);
      assert.equal(await index.confirm(owner, { id: id("new"), until, replaces: id("old") }, inTime()), true);
      assert.deepEqual((await ids(stage)).sort(), [id("new"), id("third")]);
    },
  ],
  [
    "a session can't take the place of one that was removed meanwhile",
    async (stage) => {
      const { index, clock } = stage;
      await named(stage, "old");
      await index.enter(owner, entering(stage, "new", { replaces: id("old") }), inTime());
      await index.remove(owner, [id("old")], inTime());
      const confirmed = { id: id("new"), until: clock.now() + hour, replaces: id("old") };
      assert.equal(await index.confirm(owner, confirmed, inTime()), false);
      assert.equal(await index.confirm(owner, confirmed, inTime()), false);
      assert.deepEqual(await ids(stage), []);
    },
  ],
  [
    "a name that was found dead is dropped, but not while another session is about to replace it",
    async (stage) => {
      const { index, clock } = stage;
      await named(stage, "dead");
      await named(stage, "old");
      await index.enter(owner, entering(stage, "new", { replaces: id("old") }), inTime());
      await index.prune(owner, [id("dead"), id("old"), id("nobody")], inTime());
      assert.deepEqual((await ids(stage)).sort(), [id("new"), id("old")]);
      const confirmed = { id: id("new"), until: clock.now() + hour, replaces: id("old") };
      assert.equal(await index.confirm(owner, confirmed, inTime()), true);
      await index.prune(owner, [id("old"), id("new")], inTime());
      assert.deepEqual(await ids(stage), []);
    },
  ],
  [
    "a session that replaces one without a name counts for itself",
    async (stage) => {
      await named(stage, "a");
      const next = entering(stage, "new", { replaces: id("unnamed"), most: 1 });
      assert.equal((await stage.index.enter(owner, next, inTime())).outcome, "full");
      const { most: _none, ...free } = next;
      assert.equal((await stage.index.enter(owner, free, inTime())).outcome, "entered");
      const confirmed = { id: id("new"), until: stage.clock.now() + hour, replaces: id("unnamed") };
      assert.equal(await stage.index.confirm(owner, confirmed, inTime()), true);
      assert.deepEqual((await ids(stage)).sort(), [id("a"), id("new")]);
    },
  ],
  [
    "a bar names who is there, and refuses what began before it until it lapses",
    async (stage) => {
      const { index, clock } = stage;
      await named(stage, "a");
      const before = entering(stage, "late");
      clock.advance(1);
      const listed = await index.bar(owner, { until: clock.now() + 60_000 }, inTime());
      assert.deepEqual(idsOf(listed), [id("a")]);
      assert.equal((await index.enter(owner, before, inTime())).outcome, "barred");
      assert.equal((await index.enter(other, before, inTime())).outcome, "entered");
      assert.equal((await index.enter(owner, entering(stage, "after"), inTime())).outcome, "entered");
      clock.advance(59_999);
      assert.equal((await index.enter(owner, before, inTime())).outcome, "barred");
      clock.advance(1);
      const later = { ...before, until: clock.now() + 10_000 };
      assert.equal((await index.enter(owner, later, inTime())).outcome, "entered");
    },
  ],
  [
    "a bar lets pass what replaces the session that it spares, and nothing else",
    async (stage) => {
      const { index, clock } = stage;
      await named(stage, "mine");
      await named(stage, "theirs");
      const mine = entering(stage, "mine2", { replaces: id("mine") });
      const theirs = entering(stage, "theirs2", { replaces: id("theirs") });
      clock.advance(1);
      await index.bar(owner, { until: clock.now() + 60_000, except: id("mine") }, inTime());
      assert.equal((await index.enter(owner, theirs, inTime())).outcome, "barred");
      assert.equal((await index.enter(owner, mine, inTime())).outcome, "entered");
    },
  ],
  [
    "a user with many sessions has some of them named by chance at an entry",
    async (stage) => {
      for (let count = 0; count < 30; count++) await named(stage, `s${count}`);
      const entered = await stage.index.enter(owner, entering(stage, "next"), inTime());
      assert.ok(entered.outcome === "entered");
      assert.ok(entered.sample.length > 0, "a sample of what is there");
      const all = new Set(await ids(stage));
      for (const entry of entered.sample) assert.ok(all.has(entry.id) && Number.isSafeInteger(entry.until));
    },
  ],
];
