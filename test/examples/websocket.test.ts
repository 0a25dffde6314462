import { once } from "node:events";
import { describe, expect, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { start } from "../../examples/websocket.js";
import { createSessions, memoryStore } from "../../src/index.ts";
import { Browser } from "../support/browser.ts";
import { Client } from "../support/exchange.ts";
import { opened } from "./example.ts";

/** A browser that is logged in at the running example. */
async function loggedIn(options: Parameters<typeof start>[1] = {}): Promise<Browser> {
  const app = await opened(start(0, options));
  onTestFinished(() => app.close());
  const browser = new Browser(app.url);
  await browser.get("/login?user=ada", { method: "POST" });
  return browser;
}

/** Connects with the browser's cookie; resolves to the socket and its first message. */
async function connect(browser: Browser): Promise<{ socket: WebSocket; greeting: string }> {
  const headers = { cookie: browser.cookieHeader ?? "" };
  const socket = new WebSocket(browser.url.replace("http", "ws"), { headers });
  onTestFinished(() => socket.terminate());
  const [message] = await once(socket, "message");
  return { socket, greeting: String(message) };
}

/** The status that refuses a connection. */
async function refusal(url: string, headers: Record<string, string>): Promise<number | undefined> {
  const socket = new WebSocket(url.replace("http", "ws"), { headers });
  socket.on("error", () => {});
  const [, response] = await once(socket, "unexpected-response");
  socket.terminate();
  return response.statusCode;
}

describe("the web socket example", () => {
  it("knows who connects, and answers", async () => {
    const { socket, greeting } = await connect(await loggedIn());
    expect(greeting).toBe("hello ada");
    socket.send("ahoy");
    const [message] = await once(socket, "message");
    expect(String(message)).toBe("ada: ahoy");
  });

  it("refuses who is not logged in, and another site's page", async () => {
    const browser = await loggedIn();
    expect(await refusal(browser.url, {})).toBe(401);
    expect(await refusal(browser.url, { cookie: "sid=forged" })).toBe(401);
    const cookie = browser.cookieHeader ?? "";
    expect(await refusal(browser.url, { cookie, origin: "https://evil.example" })).toBe(401);
  });

  it("closes every socket of a session that logs out", async () => {
    const browser = await loggedIn();
    const sockets = [await connect(browser), await connect(browser)].map(({ socket }) => socket);
    const closed = sockets.map((socket) => once(socket, "close"));
    expect((await browser.get("/logout", { method: "POST" })).status).toBe(204);
    for (const [code, reason] of await Promise.all(closed)) expect(`${code} ${reason}`).toBe("4001 logout");
  });

  it("closes the socket of a session that was revoked on another node, or expired", async () => {
    const store = memoryStore();
    const revoked = await loggedIn({ store });
    const { socket } = await connect(revoked);
    const closed = once(socket, "close");
    const elsewhere = createSessions({ secret: "for this example only: 32 characters at least", store });
    await new Client(elsewhere, revoked.cookieHeader).request((session) => elsewhere.destroy(session.id));
    const [code, reason] = await closed;
    expect(`${code} ${reason}`).toBe("4001 revoked");
    // It has to live until it is connected: longer, where the machine is slow.
    let idle: WebSocket | undefined;
    for (let ttl = 200; idle === undefined; ttl *= 2) {
      idle = await connect(await loggedIn({ ttl })).then(
        ({ socket }) => socket,
        () => undefined,
      );
    }
    const [, expired] = await once(idle, "close");
    expect(String(expired)).toBe("expired");
  });

  it("leaves the sockets of other sessions open", async () => {
    const ada = await loggedIn();
    const bob = new Browser(ada.url);
    await bob.get("/login?user=bob", { method: "POST" });
    const [first, second] = [await connect(ada), await connect(bob)];
    const closed = once(first.socket, "close");
    await ada.get("/logout", { method: "POST" });
    await closed;
    second.socket.send("still here");
    const [message] = await once(second.socket, "message");
    expect(String(message)).toBe("bob: still here");
  });

  it("closes the socket of a session that logs in anew", async () => {
    const browser = await loggedIn();
    const { socket } = await connect(browser);
    const closed = once(socket, "close");
    await browser.get("/login?user=grace", { method: "POST" });
    expect((await closed)[0]).toBe(4001);
    expect((await connect(browser)).greeting).toBe("hello grace");
  });
});
