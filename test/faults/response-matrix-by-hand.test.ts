/** Answers that an app writes by hand, and each framework's own slips: the change saved, the cookie right or reported. */
import { describe, expect, it } from "vitest";
import { hosts } from "../support/response-hosts.ts";
import { outcomeOf, play, type Row, sceneNames } from "../support/response-matrix.ts";
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

describe("an app that answers twice: Express's own final handler cuts the connection, behind the first answer", () => {
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
    "send, then next(error)": {
      express: (_request, response, scene, next) => {
        scene.touch();
        response.send("one");
        next(boom());
      },
    },
    "a stream, then next(error)": {
      express: (_request, response, scene, next) => {
        scene.touch();
        response.write("one ");
        response.end("two");
        next(boom());
      },
    },
    "send, then destroy()": {
      express: (_request, response, scene) => {
        scene.touch();
        response.send("one");
        response.destroy();
      },
    },
  };
  for (const host of hosts.filter(({ framework }) => framework === "express")) {
    for (const [name, row] of Object.entries(twice)) {
      for (const scene of sceneNames) {
        it(`${host.name}, ${name}, ${scene}: as without sessions`, async () => {
          expect(await play(host, row, scene)).toEqual(outcomeOf(row, scene));
        });
      }
    }
  }
});
