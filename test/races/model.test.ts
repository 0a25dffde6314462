/**
 * Random sequences of whole requests, alternating between two engines on one store, against a model of what a user may
 * rely on; fast-check shrinks a failing one and prints its seed.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSessions, memoryStore } from "../../src/index.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { seed, tally, times } from "../support/counts.ts";
import { Client, type Request } from "../support/exchange.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "a secret for the model, of thirty-two characters";
const ttl = 60_000;
const absoluteTimeout = 300_000;

/** What a user may rely on: the data of the one session that the browser's cookie names. */
interface Model {
  now: number;
  data: Record<string, unknown> | undefined;
  /** A logout's own cookie is gone; what a plain write begins is a new session. */
  idleAt: number;
  absoluteAt: number;
}

type Session = Request["session"];

interface Step {
  name: string;
  /** The handler of one request; gives the data that the model expects afterwards, `undefined`: no session. */
  run(session: Session, request: Request, model: Model): Promise<unknown> | unknown;
  apply(model: Model): void;
}

function begin(model: Model): Record<string, unknown> {
  if (model.data === undefined) {
    model.data = {};
    model.absoluteAt = model.now + absoluteTimeout;
  }
  return model.data;
}

const key: fc.Arbitrary<string> = fc.constantFrom("a", "b", "__proto__", "constructor", "");
const value = fc.jsonValue({ maxDepth: 2 }).map((json) => JSON.parse(JSON.stringify(json)) as unknown);

function define(data: object, name: string, json: unknown): void {
  Object.defineProperty(data, name, { value: json, enumerable: true, configurable: true, writable: true });
}

const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(key, value).map(
    ([name, json]): Step => ({
      name: `set ${JSON.stringify(name)} = ${JSON.stringify(json)}`,
      run: (session) => {
        session[name] = json;
      },
      apply: (model) => define(begin(model), name, json),
    }),
  ),
  key.map(
    (name): Step => ({
      name: `delete ${JSON.stringify(name)}`,
      run: (session) => delete session[name],
      apply: (model) => void delete model.data?.[name],
    }),
  ),
  fc.constant<Step>({
    name: "increment",
    run: (session) => session.update((data) => (data.count = Number(data.count ?? 0) + 1)),
    apply: (model) => {
      const data = begin(model);
      data.count = Number(data.count ?? 0) + 1;
    },
  }),
  fc.constant<Step>({
    name: "renew",
    run: (session) => session.renew(),
    apply: (model) => {
      model.absoluteAt = model.now + absoluteTimeout;
    },
  }),
  fc.constant<Step>({
    name: "regenerate",
    run: (session) => session.regenerate(),
    apply: (model) => {
      model.data = undefined;
    },
  }),
  fc.constant<Step>({
    name: "destroy",
    run: (session) => session.destroy(),
    apply: (model) => {
      model.data = undefined;
    },
  }),
  fc.constant<Step>({ name: "read", run: () => {}, apply: () => {} }),
  fc.constant<Step>({ name: "touch", run: (session) => session.touch(), apply: () => {} }),
  fc.constant<Step>({ name: "save", run: (session) => session.save(), apply: (model) => void begin(model) }),
);

const act = fc.record({
  step: steps,
  node: fc.nat(1),
  waitMs: fc.constantFrom(0, 1, 2_999, 3_000, 20_000, 59_999, 60_000),
});

const sequences = times(1000, 10_000);
const interleavings = times(150, 2000);

describe(`two engines on one store (seed ${seed})`, () => {
  it(
    "do whatever one perfect session would, for any sequence of requests",
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(act, { maxLength: 30 }), async (acts) => {
          const clock = manualClock(1_700_000_000_000);
          const store = memoryStore({ clock: () => clock.now() });
          const engines = [0, 1].map(() => createSessions({ secret, store, ttl, absoluteTimeout, touchInterval: 0 }));
          const model: Model = { now: clock.now(), data: undefined, idleAt: 0, absoluteAt: 0 };
          let cookie: string | undefined;
          for (const { step, node, waitMs } of acts) {
            clock.advance(waitMs);
            model.now = clock.now();
            if (model.now >= model.idleAt || model.now >= model.absoluteAt) model.data = undefined;
            const client = new Client(engines[node] ?? engines[0]!, cookie);
            await client.request(async (session, request) => {
              expect({ ...session }).toEqual({ ...model.data });
              expect(Object.keys(session).sort()).toEqual(Object.keys(model.data ?? {}).sort());
              await step.run(session, request, model);
            });
            step.apply(model);
            model.idleAt = model.now + ttl;
            cookie = client.cookie;
          }
          await Promise.all(engines.map((engine) => engine.close()));
        }),
        { numRuns: sequences, seed },
      );
      tally("T15", "sequences", sequences);
    },
    times(600_000, 1_800_000),
  );

  it(
    "lose no key and no increment, however parallel requests interleave",
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.scheduler(), fc.integer({ min: 2, max: 6 }), async (scheduler, writers) => {
          const inner = probeStore(memoryStore());
          const scheduled = <T>(label: string, call: () => Promise<T>): Promise<T> =>
            scheduler.schedule(Promise.resolve(), label).then(call);
          const store = {
            ...inner,
            read: (...args: Parameters<typeof inner.read>) => scheduled("read", () => inner.read(...args)),
            write: (...args: Parameters<typeof inner.write>) => scheduled("write", () => inner.write(...args)),
          };
          const engines = [0, 1].map(() => createSessions({ secret, store, storeTimeout: "1m" }));
          const first = new Client(createSessions({ secret, store: inner }));
          await first.request((session) => {
            session.user = "alice";
          });
          const requests = Array.from({ length: writers }, (_, index) =>
            new Client(engines[index % 2] ?? engines[0]!, first.cookie).request(async (session) => {
              session[`key${index}`] = index;
              await session.update((data) => (data.count = Number(data.count ?? 0) + 1));
            }),
          );
          await scheduler.waitFor(Promise.all(requests));
          await first.request((session) => {
            expect(session.count).toBe(writers);
            for (let index = 0; index < writers; index++) expect(session[`key${index}`]).toBe(index);
          });
        }),
        { numRuns: interleavings, seed },
      );
      tally("T15", "interleavings", interleavings);
    },
    times(600_000, 1_800_000),
  );
});
