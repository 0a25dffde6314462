/** Every way a response ends, in each framework: the change saved, the cookie right, every byte as without sessions. */
import { describe, expect, it } from "vitest";
import { Browser } from "../support/browser.ts";
import { hosts } from "../support/response-hosts.ts";
import {
  backstage,
  cookiesIn,
  type Outcome,
  orphansOf,
  outcomeOf,
  play,
  requestText,
  sceneNames,
  stageOf,
  talk,
  withoutSession,
} from "../support/response-matrix.ts";
import { rows } from "./response-rows.ts";
import { compressedRows } from "./response-rows-compressed.ts";

describe("every way a response ends", () => {
  /** By scene and row: each framework's line. */
  const table = new Map<string, Map<string, Outcome>>();

  for (const host of hosts) {
    for (const [name, row] of Object.entries({ ...rows, ...compressedRows })) {
      if (row[host.framework] === undefined) continue;
      // Express 4 differs from 5 in who waits for async handlers, not in how a response leaves.
      for (const scene of host.name === "Express 4" ? sceneNames.slice(0, 2) : sceneNames) {
        it(`${host.name}, ${name}, ${scene}`, async () => {
          const outcome = await play(host, row, scene);
          expect(outcome).toEqual(outcomeOf(row, scene));
          const line = table.get(`${name}, ${scene}`) ?? new Map();
          table.set(`${name}, ${scene}`, line.set(host.name, outcome));
        });
      }
    }
  }

  it.each(hosts.map((host) => [host.name, host] as const))("%s: the compression packages compress", async (_, host) => {
    for (const mounted of ["before", "after"]) {
      const row = compressedRows[`json, compression mounted ${mounted}`] ?? {};
      const stage = await stageOf(host, row);
      expect(await talk(stage.port, requestText(row))).toMatch(/^content-encoding: gzip\r$/im);
    }
  });

  it("the table is the same in every framework", () => {
    for (const [line, byHost] of table) {
      const isComplete = ["Express 5", "Koa 3", "Fastify 5"].every((name) => byHost.has(name));
      expect([line, isComplete]).toEqual([line, true]);
      expect(new Set([...byHost.values()].map((outcome) => JSON.stringify(outcome))).size).toBe(1);
    }
  });
});

describe("keep-alive pipelining", () => {
  for (const host of hosts) {
    it(`${host.name}: answers keep their order, and every byte, whatever each save takes`, async () => {
      const row = rows.json ?? {};
      const text = (cookie?: string): string =>
        ["/row", "/row", "/none", "/row"]
          .map((path, at) => requestText({}, cookie, at === 3).replace("/row", path))
          .join("");
      const bare = await stageOf(host, row);
      const { sessions, store } = backstage();
      const stage = await stageOf(host, row, sessions);
      const browser = new Browser(stage.url);
      await browser.get("/set");
      const cookie = browser.cookieHeader;
      store.forget();
      for (const act of ["write", "read", "none"] as const) {
        stage.act = act;
        const bytes = await talk(stage.port, text(cookie));
        expect(withoutSession(bytes)).toBe(withoutSession(await talk(bare.port, text())));
        expect(bytes.match(/(?<=HTTP\/1\.1 )\d+/g)).toEqual(["200", "200", "404", "200"]);
        expect(cookiesIn(bytes)).toEqual([]);
      }
      expect((await browser.get("/read")).json()).toEqual({ user: "ada", hit: true });
    });

    it(`${host.name}: pipelined first visits each have a cookie of their own, and no session without one`, async () => {
      const engine = backstage();
      const stage = await stageOf(host, rows.json ?? {}, engine.sessions);
      stage.act = "write";
      const text = requestText({}, undefined, false).repeat(2) + requestText({});
      const bytes = await talk(stage.port, text);
      expect([cookiesIn(bytes).length, engine.store.count("write"), engine.skipped]).toEqual([3, 3, []]);
      expect(orphansOf(engine, bytes, new Browser(stage.url))).toEqual([]);
    });
  }
});
