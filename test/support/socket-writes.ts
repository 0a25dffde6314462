/**
 * What this process hands to the kernel on its connections to some ports, and which of them it holds back, seen on
 * `net.Socket` itself: TLS or not. Called by tests of how the Redis store gathers commands.
 */
import { Socket } from "node:net";
import { onTestFinished, vi } from "vitest";

const isTo =
  (ports: readonly number[]) =>
  (socket: unknown): socket is Socket =>
    socket instanceof Socket && ports.includes(socket.remotePort ?? 0);

/** How many writes `step` made on each connection to `ports`, one number a connection that was written to. */
export async function writesTo(ports: readonly number[], step: () => Promise<unknown>): Promise<number[]> {
  const spies = [vi.spyOn(Socket.prototype, "_write"), vi.spyOn(Socket.prototype, "_writev")];
  const counts = new Map<unknown, number>();
  try {
    await step();
    for (const spy of spies) {
      for (const socket of spy.mock.contexts)
        if (isTo(ports)(socket)) counts.set(socket, (counts.get(socket) ?? 0) + 1);
    }
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return [...counts.values()];
}

/** The connections to `ports` that were corked since the call, in order; watched until the test ends. */
export function corkedTo(ports: readonly number[]): ReadonlySet<Socket> {
  const sockets = new Set<Socket>();
  const { cork } = Socket.prototype;
  const spy = vi.spyOn(Socket.prototype, "cork").mockImplementation(function (this: Socket) {
    // Now: one that was destroyed has no port.
    if (isTo(ports)(this)) sockets.add(this);
    cork.call(this);
  });
  onTestFinished(() => spy.mockRestore());
  return sockets;
}
