/** `expired`: of whom it is told, and what a listener or a store that fails does to it. On the memory store and a fake clock. */
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { ExpiryIndex } from "../../src/expiry-index.ts";
import {
  createSessions,
  memoryStore,
  type SessionEvents,
  type SessionOptions,
  type Sessions,
  type Store,
} from "../../src/index.ts";
import { Client } from "../support/exchange.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "a secret of the tests of expired, 32 characters";
const second = 1_000;
const never = new Promise<void>(() => {});

beforeEach(() => {
  vi.useFakeTimers({
    toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"],
  });
  vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  return () => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  };
});

const pass = (seconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(seconds * second);

/** A store that can be disturbed, its expiry index too, and engines on it. */
function setUp(options: Partial<SessionOptions> = {}) {
  const memory = memoryStore();
  const failing = new Set<"cancel" | "schedule">();
  const guarded =
    <A extends unknown[]>(verb: "cancel" | "schedule", call: (...args: A) => Promise<void>) =>
    async (...args: A): Promise<void> => {
      if (failing.has(verb)) throw new Error("connect ECONNREFUSED");
      await call(...args);
    };
  const { expiries: inner } = memory;
  const expiries: ExpiryIndex = {
    shards: inner.shards,
    schedule: guarded("schedule", inner.schedule.bind(inner)),
    cancel: guarded("cancel", inner.cancel.bind(inner)),
    claim: inner.claim.bind(inner),
    settle: inner.settle.bind(inner),
  };
  const store = Object.assign(probeStore(memory), { expiries, principals: memory.principals });
  const principal = (data: Record<string, unknown>) => data["userId"] as string | undefined;
  const engine = (own: Store = store): Sessions => {
    const sessions = createSessions({ secret, store: own, principal, expiredEvents: true, ttl: "1m", ...options });
    onTestFinished(() => sessions.close({ timeout: 0 }));
    return sessions;
  };
  return { memory, store, failing, engine };
}

async function logIn(sessions: Sessions, userId = "ada"): Promise<{ client: Client; id: string }> {
  const client = new Client(sessions);
  let id = "";
  await client.request((session) => {
    Object.assign(session, { userId });
    id = session.id;
  });
  return { client, id };
}

function heard<K extends keyof SessionEvents>(sessions: Sessions, name: K): SessionEvents[K][] {
  const events: SessionEvents[K][] = [];
  sessions.on(name, (event) => void events.push(event));
  return events;
}

describe("a listener of expired that never settles", () => {
  it("is given up after a minute, reported, and another node is told", async () => {
    const { engine } = setUp();
    const [stuck, other] = [engine(), engine()];
    let calls = 0;
    stuck.on("expired", () => {
      calls++;
      return never;
    });
    const { id } = await logIn(stuck);
    await pass(66);
    expect(calls).toBe(1);
    const events = heard(other, "expired");
    // The lease is kept for as long as the listener is waited for: one node at a time.
    await pass(50);
    expect(events).toEqual([]);
    await pass(60);
    expect(events).toEqual([{ id }]);
    expect(calls).toBe(1);
    expect(process.emitWarning).toHaveBeenCalledExactlyOnceWith(
      expect.stringContaining('"expired" failed'),
      expect.objectContaining({ code: "HOLDFAST_LISTENER" }),
    );
  });

  it("keeps its node from looking for others no longer than that", async () => {
    const { engine } = setUp();
    const sessions = engine();
    const first = await logIn(sessions);
    const told: string[] = [];
    sessions.on("expired", ({ id }) => {
      told.push(id);
      return id === first.id ? never : undefined;
    });
    await pass(66);
    const second = await logIn(sessions);
    await pass(180);
    expect(told).toContain(second.id);
  });

  it("holds up close() for its timeout at most; then its lease lapses, and another node is told", async () => {
    const { engine, memory } = setUp();
    const [stuck, other] = [engine(memory), engine(memory)];
    stuck.on("expired", () => never);
    const { id } = await logIn(stuck);
    await pass(66);
    let isClosed = false;
    void stuck.close({ timeout: "5s" }).then(() => {
      isClosed = true;
    });
    await pass(4);
    expect(isClosed).toBe(false);
    await pass(2);
    expect(isClosed).toBe(true);
    const events = heard(other, "expired");
    await pass(45);
    expect(events).toEqual([{ id }]);
  });
});
