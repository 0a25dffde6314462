import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { createSessions, memoryStore } from "../../src/index.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { Client } from "../support/exchange.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "the newest secret, of thirty-two characters";

async function setUp() {
  const store = probeStore(memoryStore());
  const sessions = createSessions({ secret, store, storeTimeout: 1_500 });
  const { cookie } = await signIn(sessions, { user: "alice" });
  return { store, sessions, cookie, client: new Client(sessions, cookie) };
}

describe("storeTimeout, once nobody waits for a response any more", () => {
  it("lets a web socket use its session as long as it likes", async () => {
    const { sessions, store, cookie } = await setUp();
    const raw = new IncomingMessage(new Socket());
    raw.headers.cookie = cookie;
    const session = await sessions.fromRequest(raw);
    store.delayMs.read = 350;
    for (let i = 0; i < 6; i++) await session.reload();
    expect(session.isNew).toBe(false);
  });

  it("lets a stream use its session as long as it likes", async () => {
    const { store, client } = await setUp();
    const request = await client.arrive();
    await client.leave(request);
    request.exchange.headersSent = true;
    store.delayMs.write = 350;
    for (let i = 0; i < 6; i++) await request.session.update((data) => (data.views = i));
    expect(request.session.views).toBe(5);
  });
});
