/**
 * Whatever is put into a session: what JSON can hold comes back equal at the next request, under any key; what it can't
 * is refused at the save with the key's name, nothing is stored, and the response ends.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSessions, memoryStore } from "../../src/index.ts";
import { reservedKeys } from "../../src/session-content.ts";
import { seed, tally, times } from "../support/counts.ts";
import { Client } from "../support/exchange.ts";
import { expectTook } from "../support/in-time.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "a secret of the tests of values, long enough";
const cases = times(500, 100_000);

const key = fc
  .oneof(
    fc.string(),
    fc.string({ unit: "binary" }),
    fc.constantFrom("__proto__", "", "constructor", "toString", "0", "then"),
  )
  .filter((name) => !reservedKeys.has(name));
const json = fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as unknown);
/** What JSON has no text for, or another value. */
const foreign = fc.constantFrom<() => unknown>(
  () => 1n,
  () => Number.NaN,
  () => Number.NEGATIVE_INFINITY,
  () => new Map([[1, 2]]),
  () => new Set([1]),
  () => () => 1,
  () => Symbol("x"),
  () => /x/,
  () => new Error("x"),
  () => Promise.resolve(),
  () => new Uint8Array(2),
  () => new Date(Number.NaN),
  () => {
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    return circle;
  },
);
/** The value itself, or deep inside others. */
const nested = fc.tuple(foreign, fc.nat(2)).map(([make, depth]) => {
  let value = make();
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? { in: value } : [value];
  return value;
});

function define(target: object, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
}

describe(`values in a session (seed ${seed})`, () => {
  it(
    "of JSON come back equal, under any key; any other is refused with its key, and nothing is stored",
    async () => {
      const store = probeStore(memoryStore());
      const sessions = createSessions({ secret, store });
      let slowest = 0;
      const client = new Client(sessions);
      await client.request((session) => {
        session.user = "alice";
      });
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(fc.tuple(key, json), { selector: ([name]) => name, maxLength: 5 }),
          fc.option(fc.tuple(key, nested)),
          async (entries, bad) => {
            const request = await client.arrive();
            for (const name of Object.keys(request.session)) delete request.session[name];
            for (const [name, value] of entries) define(request.session, name, value);
            if (bad === null) {
              await client.leave(request);
              await client.request((session) => {
                expect(new Map(Object.entries(session))).toEqual(new Map(entries));
                expect(Object.getPrototypeOf({})).toBe(Object.prototype);
              });
              return;
            }
            define(request.session, bad[0], bad[1]);
            store.forget();
            const start = performance.now();
            await expect(client.leave(request)).rejects.toMatchObject({
              code: "ERR_SESSION_VALUE",
              message: expect.stringContaining(`session[${JSON.stringify(bad[0])}]`) as string,
            });
            slowest = Math.max(slowest, performance.now() - start);
            expect(store.count("write")).toBe(0);
            // The error page of the same request leaves.
            await request.visit.commit();
          },
        ),
        { numRuns: cases, seed },
      );
      expectTook(slowest, 1_000, "a refusal");
      tally("T14", "sessions with any data", cases);
      await sessions.close();
    },
    times(600_000, 1_800_000),
  );

  it.each([...reservedKeys])("the name of a member, %s, is refused as a key with its code", async (name) => {
    const sessions = createSessions({ secret, store: memoryStore() });
    const client = new Client(sessions);
    const request = await client.arrive();
    const refusal = expect.objectContaining({ code: "ERR_SESSION_RESERVED_KEY" }) as Error;
    define(request.session, name, 1);
    await expect(client.leave(request)).rejects.toThrow(refusal);
    await sessions.close();
  });
});
