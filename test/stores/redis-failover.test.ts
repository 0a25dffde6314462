/** A master that the Sentinels gave up and that is back before they are done: it must acknowledge nothing any more. */
import { Redis } from "ioredis";
import { describe, expect, it, onTestFinished } from "vitest";
import { redisStore } from "../../src/stores/redis.ts";
import { startSentinels } from "../support/redis-sentinels.mjs";
import { until } from "../support/redis-server.ts";

const hour = 3_600_000;

/** Resolves when any of the Sentinels says this. */
async function heard(ports: readonly number[], channel: string): Promise<{ first: Promise<void> }> {
  const ears = ports.map((port) => new Redis({ port, host: "127.0.0.1", protocol: 2, enableReadyCheck: false }));
  onTestFinished(() => {
    for (const ear of ears) ear.disconnect();
  });
  await Promise.all(ears.map((ear) => ear.subscribe(channel)));
  return {
    first: Promise.race(ears.map((ear) => new Promise<void>((resolve) => void ear.once("message", () => resolve())))),
  };
}

describe("a store that Sentinels lead to its master", () => {
  it("loses no acknowledged write when a hung master wakes while it is being replaced", async () => {
    const fleet = await startSentinels();
    onTestFinished(() => fleet.stop());
    const store = redisStore(fleet.url);
    onTestFinished(() => store.close?.());
    const { first } = await heard(
      fleet.sentinels.map(({ port }) => port),
      "+elected-leader",
    );

    const acknowledged: { key: string; at: number }[] = [];
    let isOver = false;
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let count = 0; !isOver; count += 1) {
        const key = `writer-${writer}-${count}`.padEnd(43, "-");
        const now = store.now();
        const times = { createdAt: now, touchedAt: now, expiresAt: now + hour, absoluteExpiresAt: null };
        const call = { deadline: performance.now() + 1_000, durable: false };
        const record = { kind: "live", ...times, payload: Buffer.from("data") } as const;
        const result = await store.write(key, record, "absent", call).catch(() => undefined);
        if (result?.ok) acknowledged.push({ key, at: performance.now() });
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    });
    await until(() => acknowledged.length > 50, "the first writes");

    const [old] = await fleet.masters();
    if (old === undefined) throw new Error("no master");
    old.pause();
    await first;
    const wokenAt = performance.now();
    old.resume();
    await fleet.failedOver(old);
    const switchedAt = performance.now();
    await until(() => acknowledged.some(({ at }) => at > switchedAt + 200), "writes to go on");
    isOver = true;
    await Promise.all(writers);

    const [master] = await fleet.masters();
    if (master === undefined) throw new Error("no master");
    expect(master).not.toBe(old);
    const found = new Set(String(await master.command("KEYS", "holdfast:*")).split(","));
    const lost = acknowledged.filter(({ key }) => !found.has(`holdfast:${key}`));
    expect(lost.map(({ key, at }) => `${key} ${Math.round(at - wokenAt)} ms after it woke`)).toEqual([]);
  });
});
