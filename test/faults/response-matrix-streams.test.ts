/** Streams, server-sent events, upgrades and clients that go away, in each framework: what changed is saved, once, or reported. */
import { connect, type Socket } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { describe, expect, it, onTestFinished } from "vitest";
import { Browser } from "../support/browser.ts";
import { deferred, until } from "../support/deferred.ts";
import { type Handlers, type Host, hosts, type Scene, type Stage } from "../support/response-hosts.ts";
import {
  type Backstage,
  backstage,
  cookiesIn,
  orphansOf,
  requestText,
  stageOf,
  talk,
  watchProcess,
} from "../support/response-matrix.ts";

/** An answer from a stream of the test's, which also says when the handler may touch the session. */
function streaming(source: Readable, begin: (scene: Scene) => unknown): Handlers {
  const type = "text/event-stream";
  return {
    express: async (_request, response, scene) => {
      await begin(scene);
      response.writeHead(200, { "Content-Type": type });
      source.pipe(response);
    },
    koa: async (ctx, scene) => {
      await begin(scene);
      ctx.type = type;
      ctx.body = source;
    },
    fastify: async (_request, reply, scene) => {
      await begin(scene);
      return reply.type(type).send(source);
    },
  };
}

interface Show extends Backstage {
  stage: Stage;
  browser: Browser;
  unhandled: unknown[];
}

/** An app on stage, a browser with `{ user: "ada" }` or, for a new session, none yet. */
async function show(host: Host, row: Handlers, isNew = false): Promise<Show> {
  const unhandled = watchProcess();
  const engine = backstage();
  const stage = await stageOf(host, row, engine.sessions);
  const browser = new Browser(stage.url);
  if (!isNew) await browser.get("/set");
  engine.store.forget();
  stage.act = "write";
  return { ...engine, stage, browser, unhandled };
}

/** A raw client that a test can slow down or cut; `text` grows as bytes arrive. */
function client({ stage, browser }: Show): { socket: Socket; received(): string; isClosed(): boolean } {
  const socket = connect(stage.port, "127.0.0.1");
  let text = "";
  let isClosed = false;
  socket.setEncoding("latin1");
  socket.on("data", (part) => {
    text += part;
  });
  socket
    .on("error", () => {})
    .on("close", () => {
      isClosed = true;
    });
  socket.write(requestText({}, browser.cookieHeader));
  onTestFinished(() => void socket.destroy());
  return { socket, received: () => text, isClosed: () => isClosed };
}

const isSaved = ({ store }: Show, times = 1): boolean =>
  store.count("write") === times && store.calls.every(({ settled }) => settled);

async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

for (const host of hosts) {
  describe(`${host.name}, server-sent events`, () => {
    for (const isNew of [false, true]) {
      it(`a change before the first byte, ${isNew ? "a new" : "a stored"} session: saved when the byte is there`, async () => {
        const source = new PassThrough();
        const its = await show(
          host,
          streaming(source, (scene) => scene.touch()),
          isNew,
        );
        source.write("data: 1\n\n");
        const { received, isClosed } = client(its);
        await until(() => received().includes("data: 1"), "the first event");
        expect(isSaved(its)).toBe(true);
        expect(cookiesIn(received())).toHaveLength(isNew ? 1 : 0);
        source.end("data: 2\n\n");
        await until(isClosed, "the end");
        await turns();
        expect(received()).toContain("data: 2");
        expect([its.store.count("write"), its.skipped, its.unhandled]).toEqual([1, [], []]);
        expect(orphansOf(its, received(), its.browser)).toEqual([]);
      });

      it(`a change after the first byte, ${isNew ? "a new session: saved and reported" : "a stored session: saved"} when the stream ends`, async () => {
        const source = new PassThrough();
        const begun = deferred<Scene>();
        const its = await show(
          host,
          streaming(source, (scene) => begun.resolve(scene)),
          isNew,
        );
        source.write("data: 1\n\n");
        const { received, isClosed } = client(its);
        await until(() => received().includes("data: 1"), "the first event");
        (await begun.promise).touch();
        expect(its.store.count("write")).toBe(0);
        source.end("data: 2\n\n");
        await until(isClosed, "the end");
        await until(() => isSaved(its), "the late save");
        await turns();
        expect([its.store.count("write"), cookiesIn(received()), its.unhandled]).toEqual([1, [], []]);
        expect(its.skipped.map(({ reason }) => reason)).toEqual(isNew ? ["headers-sent"] : []);
        expect(orphansOf(its, received(), its.browser)).toEqual([]);
        const id = its.skipped[0]?.id;
        const data = id === undefined ? (await its.browser.get("/read")).json() : (await its.sessions.get(id))?.data;
        expect(data).toEqual(isNew ? { hit: true } : { user: "ada", hit: true });
      });
    }

    it("save() in the middle of the stream: saved at once, and not again at its end", async () => {
      const source = new PassThrough();
      const begun = deferred<Scene>();
      const its = await show(
        host,
        streaming(source, (scene) => begun.resolve(scene)),
      );
      source.write("data: 1\n\n");
      const { received, isClosed } = client(its);
      await until(() => received().includes("data: 1"), "the first event");
      const scene = await begun.promise;
      scene.touch();
      await scene.save();
      expect(isSaved(its)).toBe(true);
      expect((await its.browser.get("/read")).json()).toEqual({ user: "ada", hit: true });
      source.end();
      await until(isClosed, "the end");
      await turns();
      expect([its.store.count("write"), its.skipped, its.unhandled]).toEqual([1, [], []]);
    });
  });

  describe(`${host.name}, back-pressure`, () => {
    it("a source of 24 MB waits for the save and for a slow client, and arrives whole", async () => {
      const part = Buffer.alloc(64 * 1024, "x");
      const parts = 24 * 16;
      let made = 0;
      function* chunks(): Generator<Buffer> {
        for (; made < parts; made++) yield part;
      }
      const its = await show(
        host,
        streaming(Readable.from(chunks(), { objectMode: false }), (scene) => scene.touch()),
      );
      const door = its.store.hold("write");
      const { socket, received, isClosed } = client(its);
      await door.reached;
      await turns();
      const madeWhileHeld = made;
      expect([madeWhileHeld < 5, received()]).toEqual([true, ""]);
      socket.pause();
      door.release();
      let before = -1;
      await until(async () => {
        const isStill = made === before && made > madeWhileHeld;
        before = made;
        await new Promise((resolve) => setTimeout(resolve, 30));
        return isStill;
      }, "the source stands still");
      expect(made).toBeLessThan(parts);
      socket.resume();
      await until(isClosed, "the end");
      expect(received().split("x").length - 1).toBeGreaterThanOrEqual(parts * part.length);
      expect([made, its.store.count("write"), its.unhandled]).toEqual([parts, 1, []]);
    });
  });

  describe(`${host.name}, a client that goes away`, () => {
    it.each([
      ["before the handler, while the session loads: what the handler changes is saved once", "read"],
      ["after the handler, while the session is saved: saved once", "write"],
    ] as const)("%s", async (_, verb) => {
      const source = new PassThrough();
      const its = await show(
        host,
        streaming(source, (scene) => scene.touch()),
      );
      const door = its.store.hold(verb);
      const { socket } = client(its);
      await door.reached;
      socket.destroy();
      await talk(its.stage.port, requestText({}).replace("/row", "/none"));
      door.release();
      source.end("nobody reads this");
      await until(() => isSaved(its), "the save");
      await turns();
      expect((await its.browser.get("/read")).json()).toEqual({ user: "ada", hit: true });
      expect([its.store.count("write"), its.skipped, its.unhandled]).toEqual([1, [], []]);
    });

    it("during the handler: what it changes afterwards is saved once", async () => {
      const source = new PassThrough();
      const entered = deferred();
      const proceed = deferred();
      const its = await show(
        host,
        streaming(source, async (scene) => {
          entered.resolve();
          await proceed.promise;
          scene.touch();
        }),
      );
      const { socket } = client(its);
      await entered.promise;
      socket.destroy();
      await talk(its.stage.port, requestText({}).replace("/row", "/none"));
      proceed.resolve();
      source.end("nobody reads this");
      await until(() => isSaved(its), "the save");
      await turns();
      expect((await its.browser.get("/read")).json()).toEqual({ user: "ada", hit: true });
      expect([its.store.count("write"), its.skipped, its.unhandled]).toEqual([1, [], []]);
    });

    it("in the middle of the body: what changed since the first byte is saved once", async () => {
      const source = new PassThrough();
      const begun = deferred<Scene>();
      const its = await show(
        host,
        streaming(source, (scene) => begun.resolve(scene)),
      );
      source.write("data: 1\n\n");
      const { socket, received } = client(its);
      await until(() => received().includes("data: 1"), "the first event");
      (await begun.promise).touch();
      socket.destroy();
      await until(() => isSaved(its), "the save");
      source.end();
      await turns();
      expect((await its.browser.get("/read")).json()).toEqual({ user: "ada", hit: true });
      expect([its.store.count("write"), its.skipped, its.unhandled]).toEqual([1, [], []]);
    });

    it("during the handler, with a new session: saved once, and the cookie that nobody got is reported", async () => {
      const source = new PassThrough();
      const entered = deferred();
      const proceed = deferred();
      const its = await show(
        host,
        streaming(source, async (scene) => {
          entered.resolve();
          await proceed.promise;
          scene.touch();
        }),
        true,
      );
      const { socket } = client(its);
      await entered.promise;
      socket.destroy();
      await talk(its.stage.port, requestText({}).replace("/row", "/none"));
      proceed.resolve();
      source.end("nobody reads this");
      await until(() => isSaved(its), "the save");
      await turns();
      expect([its.store.count("write"), its.unhandled]).toEqual([1, []]);
      expect(its.skipped.map(({ reason }) => reason)).toEqual(["client-gone"]);
      expect(orphansOf(its, "", its.browser)).toEqual([]);
    });
  });

  describe(`${host.name}, an upgrade`, () => {
    for (const isNew of [false, true]) {
      it(`of ${isNew ? "a new session: saved by save(), and the cookie that it lacks is reported" : "a stored session: saved by save()"}, every byte the app's`, async () => {
        const its = await show(host, {}, isNew);
        its.stage.server?.on("upgrade", async (request, socket) => {
          const own = await its.sessions.fromRequest(request);
          Object.assign(own, { hit: true });
          await own.save();
          socket.end("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello");
        });
        const text = await talk(
          its.stage.port,
          requestText({ headers: ["Connection: Upgrade", "Upgrade: echo"] }, its.browser.cookieHeader),
        );
        expect(text).toBe("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello");
        expect(its.store.calls.map(({ verb }) => verb)).toEqual(isNew ? ["write"] : ["read", "write"]);
        expect(its.skipped.map(({ reason }) => reason)).toEqual(isNew ? ["headers-sent"] : []);
        expect(orphansOf(its, text, its.browser)).toEqual([]);
        if (!isNew) expect((await its.browser.get("/read")).json()).toEqual({ user: "ada", hit: true });
        expect(its.unhandled).toEqual([]);
      });
    }
  });
}
