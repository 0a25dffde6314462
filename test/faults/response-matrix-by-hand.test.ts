/** Answers that an app writes by hand, and each framework's own slips: the change saved, the cookie right or reported. */
import { describe, expect, it } from "vitest";
import { Browser } from "../support/browser.ts";
import { until } from "../support/deferred.ts";
import { hosts } from "../support/response-hosts.ts";
import {
  backstage,
  outcomeOf,
  play,
  type Row,
  requestText,
  sceneNames,
  stageOf,
  talk,
  watchProcess,
} from "../support/response-matrix.ts";
import { boom } from "./response-rows.ts";
import { ownRows, rowsByHand } from "./response-rows-by-hand.ts";

function matrix(rowsFor: (framework: "express" | "koa" | "fastify") => Record<string, Row>): void {
  for (const host of hosts.filter(({ name }) => name !== "Express 4")) {
    for (const [name, row] of Object.entries(rowsFor(host.framework))) {
      if (row[host.framework] === undefined) continue;
      for (const scene of sceneNames) {
        it(`${host.name}, ${name}, ${scene}`, async () => {
          expect(await play(host, row, scene)).toEqual(outcomeOf(row, scene));
        });
      }
    }
  }
}

describe("an answer written by hand", () => {
  matrix(rowsByHand);
});

describe("a framework's own way, or slip", () => {
  matrix(() => ownRows);
});

describe("Express's own final handler cuts the connection of an app that answers twice", () => {
  const twice: Record<string, Row> = {
    "next(error) twice": {
      status: 500,
      express: (_request, _response, scene, next) => {
        scene.touch();
        next(boom());
        next(boom());
      },
    },
    "send twice": {
      express: (_request, response, scene) => {
        scene.touch();
        response.send("one");
        response.send("two");
      },
    },
  };
  for (const host of hosts.filter(({ framework }) => framework === "express")) {
    for (const [name, row] of Object.entries(twice)) {
      for (const scene of ["one that is only read", "one that nobody touches"] as const) {
        it(`${host.name}, ${name}, ${scene}: as without sessions`, async () => {
          expect(await play(host, row, scene)).toEqual(outcomeOf(row, scene));
        });
      }

      it(`${host.name}, ${name}, a stored session that changes: saved once, and nothing is called twice`, async () => {
        const unhandled = watchProcess();
        const bare = await stageOf(host, row);
        await talk(bare.port, requestText(row));
        const { sessions, store } = backstage();
        const stage = await stageOf(host, row, sessions);
        const browser = new Browser(stage.url);
        await browser.get("/set");
        store.forget();
        stage.act = "write";
        await talk(stage.port, requestText(row, browser.cookieHeader)).catch(() => "cut");
        await until(() => store.calls.length === 2 && store.calls.every(({ settled }) => settled), "the save");
        expect((await browser.get("/read")).json()).toEqual({ user: "ada", hit: true });
        expect([stage.errors, store.count("write"), unhandled]).toEqual([bare.errors, 1, []]);
      });
    }
  }
});
