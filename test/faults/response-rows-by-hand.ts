/**
 * Rows of the response matrix: answers written on Node's own response. Express's middleware holds it back for the save.
 * Koa (`ctx.respond = false`) and Fastify (`reply.hijack()`) have left it to the app then: the change is saved all the
 * same, and a cookie that came too late is reported; `await session.save()` before it is their users' way.
 */
import { createReadStream } from "node:fs";
import type { ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import type { Host, Scene } from "../support/response-hosts.ts";
import type { Row } from "../support/response-matrix.ts";
import { boom } from "./response-rows.ts";

/** Writes a response. */
export type Answer = (response: ServerResponse, scene: Scene) => unknown;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What an app does with Node's response; its status is 200. */
export const answers: Record<string, Answer> = {
  "end()": (response) => response.end(),
  "end(callback)": (response, scene) => response.end(() => scene.note("ended")),
  "end(chunk, callback)": (response, scene) => response.end("body", () => scene.note("ended")),
  "end(chunk, encoding, callback)": (response, scene) => response.end("f00d", "hex", () => scene.note("ended")),
  "writeHead, end": (response) => response.writeHead(200, "Fine", { "X-Own": "1" }).end("body"),
  "write, end": (response, scene) => {
    response.write("one ", () => scene.note("written"));
    response.end("two");
  },
  flushHeaders: async (response) => {
    response.setHeader("X-Own", "1");
    response.flushHeaders();
    await turn();
    response.write("one ");
    await turn();
    response.end("two");
  },
  "a pipe": (response) => pipeline(createReadStream(`${import.meta.dirname}/response-rows.ts`), response),
  "writeContinue, writeProcessing, early hints": (response) => {
    response.writeContinue();
    response.writeProcessing();
    response.writeEarlyHints({ link: "</a.css>; rel=preload; as=style" });
    response.end("body");
  },
  trailers: (response) => {
    response.writeHead(200, { Trailer: "X-Sum" });
    response.write("body");
    response.addTrailers({ "X-Sum": "4" });
    response.end();
  },
  "a late answer from a timer": async (response) => {
    await turn();
    await turn();
    response.end("late");
  },
};

function byHand(answer: Answer, mustSave: boolean): Row {
  const go = (response: ServerResponse, scene: Scene): unknown => {
    response.statusCode = 200;
    return answer(response, scene);
  };
  const run = (response: ServerResponse, scene: Scene): unknown => {
    scene.touch();
    return mustSave ? scene.save().then(() => go(response, scene)) : go(response, scene);
  };
  return {
    express: (_request, response, scene) => run(response, scene),
    koa: (ctx, scene) => {
      ctx.respond = false;
      return run(ctx.res, scene);
    },
    fastify: (_request, reply, scene) => {
      reply.hijack();
      return run(reply.raw, scene);
    },
  };
}

/** Which frameworks let the response wait for the save when the app writes it by hand. */
export function rowsByHand(framework: Host["framework"]): Record<string, Row> {
  const rows: Record<string, Row> = {};
  for (const [name, answer] of Object.entries(answers)) {
    rows[name] = { ...byHand(answer, false), isLate: framework !== "express" };
    rows[`${name} after save()`] = byHand(answer, true);
  }
  return rows;
}

/** What only one framework has, or gets wrong in its own way. */
export const ownRows: Record<string, Row> = {
  "Set-Cookie and Vary replaced after save()": {
    express: async (_request, response, scene) => {
      scene.touch();
      await scene.save();
      response.writeHead(200, { "Set-Cookie": "a=1", Vary: "Accept" }).end("replaced");
    },
    koa: async (ctx, scene) => {
      scene.touch();
      await scene.save();
      ctx.set({ "Set-Cookie": "a=1", Vary: "Accept" });
      ctx.body = "replaced";
    },
    fastify: async (_request, reply, scene) => {
      scene.touch();
      await scene.save();
      return reply.removeHeader("set-cookie").headers({ "set-cookie": "a=1", vary: "Accept" }).send("replaced");
    },
  },
  "send twice": {
    fastify: (_request, reply, scene) => {
      scene.touch();
      reply.send("one");
      reply.send("two");
    },
  },
  "reply.send without return": {
    fastify: async (_request, reply, scene) => {
      scene.touch();
      reply.send({ ok: true });
    },
  },
  "reply.send and return of something else": {
    fastify: async (_request, reply, scene) => {
      scene.touch();
      reply.send({ ok: true });
      return { ok: "returned" };
    },
  },
  "reply.send, then a throw": {
    // As after every onSend that takes its time: Fastify hands it to onError, and the first answer stands.
    errors: ["boom"],
    fastify: async (_request, reply, scene) => {
      scene.touch();
      reply.send({ ok: true });
      throw boom();
    },
  },
  "ctx.throw with headers": {
    status: 418,
    koa: (ctx, scene) => {
      scene.touch();
      ctx.throw(418, "tea", { headers: { "x-why": "pot" } });
    },
  },
  "a body that replaces another": {
    koa: (ctx, scene) => {
      scene.touch();
      ctx.body = createReadStream(import.meta.filename);
      ctx.body = "the second";
    },
  },
  "ctx.flushHeaders()": {
    isLate: true,
    koa: (ctx, scene) => {
      ctx.status = 200;
      scene.touch();
      ctx.flushHeaders();
      ctx.body = "the rest";
    },
  },
  "ctx.res.end() although Koa answers": {
    isLate: true,
    koa: (ctx, scene) => {
      ctx.status = 200;
      scene.touch();
      ctx.res.end("by hand");
    },
  },
};
