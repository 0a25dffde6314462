/** Any lifetimes, any times between requests: alive until the earlier of both deadlines, to the millisecond, dead at it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSessions, memoryStore } from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { seed, tally, times } from "../support/counts.ts";
import { Client } from "../support/exchange.ts";

const secret = "a secret of the tests of lifetimes, long enough";
const cases = times(300, 10_000);

const act = fc.record({
  waitMs: fc.oneof(fc.nat(120), fc.constantFrom(0, 1, 999, 1_000, 1_001)),
  /** What the request does when it is there. */
  does: fc.constantFrom("read", "write", "touch", "remember", "renew"),
  maxAge: fc.integer({ min: 1, max: 2_000 }),
});

describe(`a session's deadlines (seed ${seed})`, () => {
  it(
    "are those of its options and its own maxAge, whatever is done and when",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 1_000 }),
          fc.integer({ min: 0, max: 4_000 }),
          fc.boolean(),
          fc.array(act, { maxLength: 25 }),
          async (ttl, more, rolling, acts) => {
            const absoluteTimeout = ttl + more;
            const clock = manualClock(1_700_000_000_000);
            const store = memoryStore({ clock: () => clock.now() });
            const sessions = createSessions({ secret, store, ttl, absoluteTimeout, rolling, touchInterval: 0 });
            const client = new Client(sessions);
            await client.request((session) => {
              session.user = "alice";
            });
            let idleMs = ttl;
            let absoluteAt = clock.now() + absoluteTimeout;
            let idleAt = Math.min(clock.now() + ttl, absoluteAt);
            for (const { waitMs, does, maxAge } of acts) {
              clock.advance(waitMs);
              const isAlive = clock.now() < idleAt && clock.now() < absoluteAt;
              const { setCookies } = await client.request(async (session) => {
                expect(session.user).toBe(isAlive ? "alice" : undefined);
                if (!isAlive) return;
                if (does === "write") session.mark = clock.now();
                if (does === "touch") await session.touch();
                if (does === "remember") session.cookie.maxAge = maxAge;
                if (does === "renew") await session.renew();
              });
              if (!isAlive) break;
              // A browser drops a cookie that lives less than a second; this client asks again all the same.
              for (const line of setCookies) client.cookie = line.split(";")[0];
              const isOther = does === "remember" && maxAge !== idleMs;
              if (does === "remember") idleMs = maxAge;
              if (does === "renew") absoluteAt = clock.now() + absoluteTimeout;
              // Fixed from its creation without `rolling`; a touch by hand, a login and another maxAge begin anew.
              const isExtended = rolling || isOther || does === "touch" || does === "renew";
              if (isExtended) idleAt = clock.now() + idleMs;
            }
            await sessions.close();
          },
        ),
        { numRuns: cases, seed },
      );
      tally("T18", "sequences with lifetimes", cases);
    },
    times(600_000, 1_800_000),
  );
});

describe("session.cookie.maxAge", () => {
  it.each([-1, 0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 9e15, "soon", "-1d", {}, true])(
    "set to %s throws, and the session stays as it was",
    async (value) => {
      const sessions = createSessions({ secret, store: memoryStore() });
      const client = new Client(sessions);
      await client.request((session) => {
        session.user = "alice";
      });
      const before = await client.arrive();
      expect(() => {
        before.session.cookie.maxAge = value as number; // what JavaScript's users may write
      }).toThrow(expect.objectContaining({ code: "ERR_SESSION_COOKIE" }) as Error);
      expect(before.session.cookie.maxAge).toBeNull();
      expect((await client.leave(before)).setCookies).toEqual([]);
      await client.request((session) => expect(session.user).toBe("alice"));
      await sessions.close();
    },
  );
});
