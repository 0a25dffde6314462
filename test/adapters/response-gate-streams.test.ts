/** The gate and time: back-pressure, streams, aborts, and other middleware around the same methods. */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { pipeline, Readable } from "node:stream";
import { pipeline as pipelined } from "node:stream/promises";
import { describe, expect, it } from "vitest";
import { ResponseGate } from "../../adapters/response-gate.ts";
import { deferred, until } from "../support/deferred.ts";
import { exchangeBytes, requestText, ScriptedVisit, serve, slowly } from "../support/gated-server.ts";
import { compress, onHead } from "../support/wrapping-middleware.ts";

const chunk = Buffer.alloc(64 * 1024, "x");
const megabytes = 6;

function* manyChunks(): Generator<Buffer> {
  for (let index = 0; index < megabytes * 16; index++) yield chunk;
}

const once1 = ({ commits }: ScriptedVisit): Promise<void> | undefined => (commits === 1 ? slowly() : undefined);

describe("back-pressure", () => {
  const ways: Record<string, (response: ServerResponse) => unknown> = {
    pipe: (response) => Readable.from(manyChunks()).pipe(response),
    "pipeline()": (response) => pipeline(Readable.from(manyChunks()), response, () => {}),
    "pipeline() of a generator": (response) => pipelined(manyChunks, response),
    "write and drain by hand": async (response) => {
      for (const part of manyChunks()) if (!response.write(part)) await once(response, "drain");
      response.end();
    },
  };
  for (const [way, send] of Object.entries(ways)) {
    it(`${way}: a big body passes whole, and while the save lasts its source waits`, async () => {
      const proceed = deferred();
      const visit = new ScriptedVisit(({ commits }) => (commits === 1 ? proceed.promise : undefined));
      let isHeld = true;
      let heldWrites = 0;
      const gated = await serve(
        (_request, response) => {
          const { write } = response;
          Object.assign(response, {
            write: (...args: Parameters<typeof write>) => {
              if (isHeld) heldWrites++;
              return write.apply(response, args);
            },
          });
          send(response);
        },
        () => visit,
      );
      const response = fetch(gated.url);
      await until(() => visit.commits === 1, "the commit");
      await slowly();
      expect(heldWrites).toBe(1);
      isHeld = false;
      proceed.resolve();
      expect((await (await response).arrayBuffer()).byteLength).toBe(megabytes * 1024 * 1024);
      await until(() => visit.finished === 1, "finish");
      expect(visit.finished).toBe(1);
    });
  }
});

describe("the visit", () => {
  it("is finished once after a plain answer", async () => {
    const visit = new ScriptedVisit(once1);
    const gated = await serve(
      (_request, response) => response.end("body"),
      () => visit,
    );
    await exchangeBytes(gated.port, requestText());
    await until(() => visit.finished > 0, "finish");
    expect([visit.commits, visit.finished]).toEqual([1, 1]);
  });

  it("commits again before the last byte of a stream: the end never overtakes a late save", async () => {
    let isSaved = false;
    const visit = new ScriptedVisit(async ({ commits }) => {
      await slowly();
      if (commits === 2) isSaved = true;
    });
    const gated = await serve(
      async (_request, response) => {
        response.write("one");
        await once(response, "drain");
        response.end("two");
      },
      () => visit,
    );
    expect(await (await fetch(gated.url)).text()).toBe("onetwo");
    expect(isSaved).toBe(true);
  });

  it("a late save that fails lets the stream end: the head has left", async () => {
    const visit = new ScriptedVisit(async ({ commits }) => {
      if (commits === 2) throw new Error("no store");
    });
    const errors: unknown[] = [];
    const gated = await serve(
      async (_request, response) => {
        response.write("one");
        await once(response, "drain");
        response.end("two");
      },
      () => visit,
      (error) => errors.push(error),
    );
    expect(await (await fetch(gated.url)).text()).toBe("onetwo");
    expect(errors).toEqual([]);
  });

  it("is finished when the client goes away first, and commits when the handler ends after that", async () => {
    const visit = new ScriptedVisit(() => slowly());
    const entered = deferred<ServerResponse>();
    const gated = await serve(
      (_request, response) => entered.resolve(response),
      () => visit,
    );
    const client = new AbortController();
    const response = fetch(gated.url, { signal: client.signal }).catch(() => "gone");
    const held = await entered.promise;
    client.abort();
    expect(await response).toBe("gone");
    await until(() => visit.finished === 1, "finish");
    expect(visit.commits).toBe(0);
    held.end("nobody reads this");
    expect(visit.commits).toBe(1);
    await slowly();
    await slowly();
    expect(visit.finished).toBe(1);
  });

  it("is finished once, after the save, when the client goes away during it", async () => {
    const proceed = deferred();
    const order: string[] = [];
    const visit = new ScriptedVisit(async () => {
      await proceed.promise;
      order.push("saved");
    });
    const closed = deferred();
    const gated = await serve(
      (_request, response) => {
        response.on("close", () => closed.resolve());
        response.end("body");
      },
      () => visit,
    );
    const client = new AbortController();
    const response = fetch(gated.url, { signal: client.signal }).catch(() => "gone");
    await until(() => visit.commits === 1, "the commit");
    client.abort();
    await closed.promise;
    expect(visit.finished).toBe(0);
    proceed.resolve();
    await until(() => visit.finished === 1, "finish");
    expect([order, await response]).toEqual([["saved"], "gone"]);
  });
});

describe("other middleware", () => {
  const layouts = ["before the gate", "after the gate"] as const;
  for (const layout of layouts) {
    for (const script of [once1, (): undefined => undefined]) {
      it(`compression mounted ${layout} works, ${script === once1 ? "held" : "unheld"}`, async () => {
        const visit = new ScriptedVisit(script);
        const gated = await serve((_request, response) => {
          if (layout === "before the gate") compress(response);
          visit.gate = new ResponseGate(response, visit, () => {});
          if (layout === "after the gate") compress(response);
          Readable.from(manyChunks()).pipe(response);
        });
        const response = await fetch(gated.url, { headers: { "accept-encoding": "identity" } });
        expect(response.headers.get("content-encoding")).toBe("gzip");
        expect((await response.arrayBuffer()).byteLength).toBe(megabytes * 1024 * 1024);
      });

      it(`a listener on the head mounted ${layout} works, ${script === once1 ? "held" : "unheld"}`, async () => {
        const visit = new ScriptedVisit(script);
        const gated = await serve((_request, response) => {
          if (layout === "before the gate") onHead(response);
          visit.gate = new ResponseGate(response, visit, () => {});
          if (layout === "after the gate") onHead(response);
          response.writeHead(201, { "X-Own": "1" }).end("body");
        });
        const response = await fetch(gated.url);
        expect([response.status, response.headers.get("x-head"), response.headers.get("x-own")]).toEqual([
          201,
          "1",
          "1",
        ]);
        expect(await response.text()).toBe("body");
      });
    }
  }

  it("compression mounted after the gate goes on after a save that outlasted its first output", async () => {
    const isFull = deferred();
    const visit = new ScriptedVisit(({ commits }) => (commits === 1 ? isFull.promise : undefined));
    const gated = await serve((_request, response) => {
      visit.gate = new ResponseGate(response, visit, () => {});
      const { write } = response;
      Object.assign(response, {
        write: (...args: Parameters<typeof write>) => {
          isFull.resolve();
          return write.apply(response, args);
        },
      });
      compress(response);
      Readable.from(manyChunks()).pipe(response);
    });
    expect((await (await fetch(gated.url)).arrayBuffer()).byteLength).toBe(megabytes * 1024 * 1024);
  });

  it("two gates on one response both commit, the outer one last", async () => {
    const order: string[] = [];
    const note = (name: string) => async (): Promise<void> => {
      await slowly();
      order.push(name);
    };
    const gated = await serve((_request, response) => {
      new ResponseGate(response, new ScriptedVisit(note("outer")), () => {});
      new ResponseGate(response, new ScriptedVisit(note("inner")), () => {});
      response.end("body");
    });
    expect(await (await fetch(gated.url)).text()).toBe("body");
    expect(order).toEqual(["inner", "outer"]);
  });
});
