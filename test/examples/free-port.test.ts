/** Ports for servers that a process starts itself: it picks several before the first of them listens. */
import { expect, test } from "vitest";
import { freePort } from "../../examples/cluster/free-port.mjs";

test("no port is given twice, though nothing listens on any of them yet", async () => {
  const ports = new Set<number>();
  for (let count = 0; count < 600; count += 1) ports.add(await freePort());
  expect(ports.size).toBe(600);
});
