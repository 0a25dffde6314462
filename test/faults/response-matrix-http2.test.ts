/** The response matrix over HTTP/2: the same table, where the protocol has the row. */
import type { ServerResponse } from "node:http";
import { describe, expect, it } from "vitest";
import { http2Hosts, nodeHttp2Host } from "../support/http2-hosts.ts";
import { outcomeOf, play, sceneNames } from "../support/response-matrix.ts";
import { rows } from "./response-rows.ts";
import { answers } from "./response-rows-by-hand.ts";
import { compressedRows } from "./response-rows-compressed.ts";

/** HTTP/2 has no such answers, or Node's compatibility API doesn't. */
const notInHttp2 = ["writeProcessing", "an upgrade that nobody listens for", "a POST that expects 100-continue"];

/** Node's HTTP/2 response lacks `writeProcessing`, and `flushHeaders` in its types. */
const notByHand = ["writeContinue, writeProcessing, early hints"];

describe("HTTP/2, every way a response ends", () => {
  for (const host of http2Hosts) {
    for (const [name, row] of Object.entries({ ...rows, ...compressedRows })) {
      if (notInHttp2.includes(name)) continue;
      for (const scene of sceneNames) {
        it(`${host.name}, ${name}, ${scene}`, async () => {
          expect(await play(host, row, scene)).toEqual(outcomeOf(row, scene));
        });
      }
    }
  }
});

describe("HTTP/2, Express's middleware under plain node:http2", () => {
  for (const [name, answer] of Object.entries(answers)) {
    if (notByHand.includes(name)) continue;
    const host = nodeHttp2Host(async (_request, response, scene) => {
      scene.touch();
      // The compatibility API: what these answers use of it is the same.
      await answer(response as unknown as ServerResponse, scene);
    });
    for (const scene of sceneNames) {
      it(`${name}, ${scene}`, async () => {
        expect(await play(host, {}, scene)).toEqual(outcomeOf({}, scene));
      });
    }
  }
});
