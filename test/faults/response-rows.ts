/** Rows of the response matrix: the ways to answer that every framework has, each as its users write it. */
import { createReadStream, readFileSync } from "node:fs";
import { Readable } from "node:stream";
import type { Handlers } from "../support/response-hosts.ts";
import type { Row } from "../support/response-matrix.ts";

const file: string = `${import.meta.dirname}/response-rows.ts`;
const content: Buffer = readFileSync(file);

/** An error whose stack says nothing of where it was thrown: Express's error page shows it. */
export function boom(): Error {
  return Object.assign(new Error("boom"), { stack: "Error: boom" });
}

/** An answer of status, headers and body, sent at once. */
export function plain(code: number, headers: Record<string, string>, body?: string | Buffer | object): Row {
  return {
    status: code,
    express: (_request, response, scene) => {
      scene.touch();
      response.status(code).set(headers);
      if (typeof body === "object" && !Buffer.isBuffer(body)) response.json(body);
      else if (body === undefined) response.end();
      else response.send(body);
    },
    koa: (ctx, scene) => {
      scene.touch();
      ctx.set(headers);
      ctx.body = body ?? null;
      // After the body: Koa makes 204 of none.
      ctx.status = code;
    },
    fastify: async (_request, reply, scene) => {
      scene.touch();
      return reply.code(code).headers(headers).send(body);
    },
  };
}

/** A redirect, by the framework's own call. */
export const redirect: Row = {
  status: 302,
  express: (_request, response, scene) => {
    scene.touch();
    response.redirect("/elsewhere");
  },
  koa: (ctx, scene) => {
    scene.touch();
    ctx.redirect("/elsewhere");
  },
  fastify: async (_request, reply, scene) => {
    scene.touch();
    return reply.redirect("/elsewhere");
  },
};

/** Koa and Fastify leave conditions and ranges to plugins; here they are answered by hand. */
function sentFile(code: number, start = 0, end: number = content.length - 1): Row {
  const headers = { "content-length": String(end - start + 1), etag: '"rows"', "accept-ranges": "bytes" };
  const range = code === 206 ? { "content-range": `bytes ${start}-${end}/${content.length}` } : {};
  return {
    status: code,
    headers: code === 206 ? [`Range: bytes=${start}-${end}`] : [],
    express: (_request, response, scene) => {
      scene.touch();
      response.sendFile(file, { dotfiles: "allow" }, (error) => scene.note(`sent: ${error}`));
    },
    koa: (ctx, scene) => {
      scene.touch();
      ctx.set({ ...headers, ...range });
      ctx.body = createReadStream(file, { start, end });
      ctx.status = code;
    },
    fastify: (_request, reply, scene) => {
      scene.touch();
      reply.code(code).headers({ ...headers, ...range });
      return reply.send(createReadStream(file, { start, end }));
    },
  };
}

/** A cached copy is still good: the framework, or the app with its help, answers 304 by itself. */
const fresh: Row = {
  status: 304,
  headers: ['If-None-Match: "v1"'],
  express: (_request, response, scene) => {
    scene.touch();
    response.set({ ETag: '"v1"', "Cache-Control": "private, max-age=5" }).json({ big: "x".repeat(1000) });
  },
  koa: (ctx, scene) => {
    scene.touch();
    ctx.status = 200;
    ctx.set({ ETag: '"v1"', "Cache-Control": "private, max-age=5" });
    if (ctx.fresh) ctx.status = 304;
    else ctx.body = "x".repeat(1000);
  },
  fastify: async (request, reply, scene) => {
    scene.touch();
    reply.headers({ etag: '"v1"', "cache-control": "private, max-age=5" });
    return request.headers["if-none-match"] === '"v1"' ? reply.code(304).send() : "x".repeat(1000);
  },
};

/** The app has cookies, caching rules and a Vary of its own. */
const ownHeaders: Handlers = {
  express: (_request, response, scene) => {
    scene.touch();
    response.cookie("a", "1").cookie("b", "2").set("Cache-Control", "private").vary("Accept").send("own headers");
  },
  koa: (ctx, scene) => {
    scene.touch();
    ctx.cookies.set("a", "1").set("b", "2");
    ctx.set("Cache-Control", "private");
    ctx.vary("Accept");
    ctx.body = "own headers";
  },
  fastify: async (_request, reply, scene) => {
    scene.touch();
    reply.header("set-cookie", "a=1").header("set-cookie", "b=2");
    return reply.headers({ "cache-control": "private", vary: "Accept" }).send("own headers");
  },
};

/** A stream that the framework sends. */
export function streamed(parts: () => Iterable<string | Buffer>): Row {
  const source = (): Readable => Readable.from(parts(), { objectMode: false });
  return {
    express: (_request, response, scene) => {
      scene.touch();
      response.type("text/plain");
      source().pipe(response);
    },
    koa: (ctx, scene) => {
      scene.touch();
      ctx.type = "text/plain";
      ctx.body = source();
    },
    fastify: async (_request, reply, scene) => {
      scene.touch();
      return reply.type("text/plain").send(source());
    },
  };
}

const words: Row = streamed(() => ["one ", "two ", "three"]);

/** A handler that throws. */
export const thrown: Row = {
  status: 500,
  express: (_request, _response, scene) => {
    scene.touch();
    throw boom();
  },
  koa: (_ctx, scene) => {
    scene.touch();
    throw boom();
  },
  fastify: (_request, _reply, scene) => {
    scene.touch();
    throw boom();
  },
};

async function failLater(scene: { touch(): void }): Promise<never> {
  scene.touch();
  await new Promise((resolve) => setImmediate(resolve));
  throw boom();
}

const rejected: Row = {
  status: 500,
  express: (_request, _response, scene) => failLater(scene),
  koa: (_ctx, scene) => failLater(scene),
  fastify: (_request, _reply, scene) => failLater(scene),
};

/** An informational response, then the final one. */
function informed(inform: (response: import("node:http").ServerResponse) => void): Handlers {
  return {
    express: (_request, response, scene) => {
      scene.touch();
      inform(response);
      response.send("after 1xx");
    },
    koa: (ctx, scene) => {
      scene.touch();
      inform(ctx.res);
      ctx.body = "after 1xx";
    },
    fastify: async (_request, reply, scene) => {
      scene.touch();
      inform(reply.raw);
      return "after 1xx";
    },
  };
}

/** One way to answer each, in every framework. */
export const rows: Record<string, Row> = {
  "a text": plain(200, { "x-own": "1" }, "hello"),
  json: plain(200, {}, { ok: true }),
  "a buffer": plain(200, { "content-type": "image/png" }, Buffer.from("f00d", "hex")),
  "no body": plain(200, {}),
  204: plain(204, {}),
  304: plain(304, { etag: '"x"' }),
  "404, a page of the app's own": plain(404, {}, "nothing here"),
  "a redirect": redirect,
  "304 by a condition": fresh,
  "HEAD of json": { ...plain(200, {}, { ok: true }), method: "HEAD" },
  "HEAD of a file": { ...sentFile(200), method: "HEAD" },
  "HEAD of a stream": { ...words, method: "HEAD" },
  "a file": sentFile(200),
  "a range of a file": sentFile(206, 10, 5000),
  "a stream": words,
  "a stream of one big chunk": streamed(() => [Buffer.alloc(300_000, "x")]),
  "an empty stream": streamed(() => []),
  "cookies, Cache-Control and Vary of the app's own": ownHeaders,
  "a handler that throws": thrown,
  "a handler that rejects": rejected,
  writeContinue: informed((response) => response.writeContinue()),
  writeProcessing: informed((response) => response.writeProcessing()),
  writeEarlyHints: informed((response) => response.writeEarlyHints({ link: "</a.css>; rel=preload; as=style" })),
  "a POST that expects 100-continue": {
    ...plain(200, {}, "posted"),
    method: "POST",
    headers: ["Expect: 100-continue", "Content-Type: text/plain", "Content-Length: 4"],
    body: "body",
  },
  "an upgrade that nobody listens for": {
    ...plain(200, {}, "no upgrade here"),
    headers: ["Connection: Upgrade, close", "Upgrade: websocket"],
  },
};
