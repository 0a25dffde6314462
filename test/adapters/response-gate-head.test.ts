/** The head behind the gate: headers that the commit adds join those of the app, and a held response looks sent. */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { describe, expect, it } from "vitest";
import { exchangeBytes, requestText, ScriptedVisit, serve, slowly } from "../support/gated-server.ts";

describe("headers that the commit sets", () => {
  const script = async ({ gate }: ScriptedVisit): Promise<void> => {
    await slowly();
    const earlier = gate?.getHeader("set-cookie");
    gate?.setHeader("Set-Cookie", [...(earlier === undefined ? [] : [earlier].flat().map(String)), "sid=1"]);
    if (gate?.getHeader("cache-control") === undefined) gate?.setHeader("Cache-Control", "no-store");
  };
  const raw: [string, string][] = [
    ["Set-Cookie", "a=1"],
    ["Set-Cookie", "b=2"],
    ["X-Own", "x"],
    ["X-Own", "y"],
  ];
  const passed = Object.freeze({ "SET-COOKIE": Object.freeze(["a=1", "b=2"]), "x-own": Object.freeze(["x", "y"]) });
  const ways: Record<string, (response: ServerResponse) => unknown> = {
    "an object, which stays as it was": (response) => response.writeHead(200, passed as never), // frozen on purpose
    "a raw array": (response) => response.writeHead(200, raw.flat()),
    "an array of pairs": (response) => response.writeHead(200, raw as never), // Node's types lack this form
    setHeader: (response) => {
      response.setHeader("Set-Cookie", ["a=1", "b=2"]);
      response.setHeader("X-Own", ["x", "y"]);
    },
  };
  for (const [what, way] of Object.entries(ways)) {
    it(`join those of the app, passed as ${what}`, async () => {
      const gated = await serve(
        (_request, response) => {
          way(response);
          response.end("body");
        },
        () => new ScriptedVisit(script),
      );
      const bytes = await exchangeBytes(gated.port, requestText());
      const lines = bytes.split("\r\n").filter((line) => /^(set-cookie|x-own|cache-control):/i.test(line));
      expect(lines.map((line) => line.replace(/^[^:]+: /, ""))).toHaveLength(6);
      expect(lines.map((line) => line.replace(/^[^:]+: /, "")).toSorted()).toEqual([
        "a=1",
        "b=2",
        "no-store",
        "sid=1",
        "x",
        "y",
      ]);
    });
  }

  it("leave a Cache-Control that is passed to writeHead alone", async () => {
    const gated = await serve(
      (_request, response) => response.writeHead(200, { "cache-control": "public" }).end(),
      () => new ScriptedVisit(script),
    );
    const bytes = await exchangeBytes(gated.port, requestText());
    expect(bytes.match(/cache-control: .*/gi)).toEqual(["cache-control: public"]);
    expect(bytes).toContain("sid=1");
  });
});

describe("a held response looks sent", () => {
  it("to whoever asks, and refuses a second head", async () => {
    const seen: unknown[] = [];
    const gated = await serve(
      async (_request, response) => {
        const look = (): unknown[] => [response.headersSent, response.writableEnded, response.statusCode];
        const code = (act: () => unknown): unknown => {
          try {
            return act();
          } catch (error) {
            return (error as { code: unknown }).code; // Node's errors have one
          }
        };
        seen.push(look());
        response.writeHead(201);
        seen.push(
          look(),
          code(() => response.setHeader("X", "1")),
          code(() => response.removeHeader("X")),
        );
        seen.push(
          code(() => response.writeHead(202)),
          response.write("one"),
        );
        await once(response, "drain");
        seen.push(look(), response.write("two"), response.end() === response, look());
      },
      () => new ScriptedVisit(({ commits }) => (commits === 1 ? slowly() : undefined)),
    );
    const bytes = await exchangeBytes(gated.port, requestText());
    expect(bytes).toContain("HTTP/1.1 201 Created");
    expect(bytes).toMatch(/\r\none[\s\S]*two\r\n/);
    const refused = "ERR_HTTP_HEADERS_SENT";
    expect(seen).toEqual([
      [false, false, 200],
      [true, false, 201],
      refused,
      refused,
      refused,
      false,
      [true, false, 201],
      true,
      true,
      [true, true, 201],
    ]);
  });
});
