/**
 * The response matrix over HTTP/2, cleartext: Koa, Fastify, and Express's middleware under plain `node:http2` (Express
 * itself speaks HTTP/1 only). Answers are put in the form of HTTP/1, which the matrix compares.
 */
import { once } from "node:events";
import { connect, createServer, type Http2Server, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { AddressInfo } from "node:net";
import Fastify from "fastify";
import Koa from "koa";
import { session as expressSession } from "../../adapters/express.ts";
import { session as fastifySession } from "../../adapters/fastify.ts";
import { session as koaSession } from "../../adapters/koa.ts";
import { sessionOf } from "../../src/index.ts";
import type { RunningApp } from "./listen.ts";
import { Director, type Host, type Question, type Scene } from "./response-hosts.ts";

/** A handler of plain `node:http2`. */
export type NodeHandler = (request: Http2ServerRequest, response: Http2ServerResponse, scene: Scene) => unknown;

async function listen(server: Http2Server): Promise<RunningApp> {
  const clients = new Set<{ destroy(): void }>();
  server.on("session", (session) => {
    clients.add(session);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // a TCP server's
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    close: async () => {
      for (const client of clients) client.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** One request, on a connection of its own. */
async function ask(port: number, row: Question, cookie: string | undefined, onHead: () => void): Promise<string> {
  const client = connect(`http://127.0.0.1:${port}`);
  try {
    const lines = (row.headers ?? []).map((line) => line.split(": ") as [string, string]); // rows are written so
    const stream = client.request(
      {
        ":path": "/row",
        ":method": row.method ?? "GET",
        ...Object.fromEntries(lines.map(([name, value]) => [name.toLowerCase(), value])),
        ...(cookie === undefined ? {} : { cookie }),
      },
      { endStream: row.body === undefined },
    );
    if (row.body !== undefined) stream.end(row.body);
    let text = "";
    stream.on("headers", (headers) => {
      text += headText(headers);
    });
    const [headers] = await once(stream, "response");
    onHead();
    text += headText(headers);
    for await (const part of stream.setEncoding("latin1")) text += part;
    return text;
  } finally {
    client.destroy();
  }
}

function headText({ ":status": status, ...headers }: Record<string, unknown>): string {
  const lines = Object.entries(headers)
    .filter(([name]) => name !== "date")
    .flatMap(([name, value]) => [value].flat().map((one) => `${name}: ${one}\r\n`));
  return `HTTP/1.1 ${status} \r\n${lines.join("")}\r\n`;
}

/** Express's middleware under plain `node:http2`; the row is `handler`. */
export function nodeHttp2Host(handler: NodeHandler): Host {
  return {
    name: "node:http2",
    framework: "express",
    ask,
    async start(_row, sessions) {
      const director = new Director();
      const mounted = sessions && expressSession(sessions);
      const server = createServer(async (request, response) => {
        const next = async (error?: unknown): Promise<void> => {
          if (error !== undefined) director.failed(error);
          // By sessionOf(): the session that is loaded already.
          const own = sessions && director.act !== "none" ? await sessionOf(request as never) : undefined; // HTTP/2's has what it takes
          await handler(
            request,
            response,
            director.scene(() => own),
          );
        };
        if (mounted) mounted(request, response, (error) => void next(error));
        else await next();
      });
      return director.stage(await listen(server));
    },
  };
}

/** The frameworks that speak HTTP/2 by themselves. */
export const http2Hosts: readonly Host[] = [
  {
    name: "Koa 3, HTTP/2",
    framework: "koa",
    ask,
    async start(row, sessions) {
      const director = new Director();
      const app = new Koa();
      app.on("error", (error) => director.failed(error));
      if (row.before) app.use(row.before.koa);
      if (sessions) app.use(koaSession(sessions));
      if (row.after) app.use(row.after.koa);
      app.use(async (ctx) => {
        await row.koa?.(
          ctx,
          director.scene(() => ctx.session),
        );
      });
      return director.stage(await listen(createServer(app.callback())));
    },
  },
  {
    name: "Fastify 5, HTTP/2",
    framework: "fastify",
    ask,
    async start(row, sessions) {
      const director = new Director();
      const app = Fastify({ http2: true });
      await row.before?.fastify(app as never); // the same app, typed by its server
      if (sessions) await app.register(fastifySession, { sessions });
      await row.after?.fastify(app as never); // as above
      app.addHook("onError", async (_request, _reply, error) => director.failed(error));
      app.all("/row", (request, reply) =>
        row.fastify?.(
          request as never, // as above
          reply as never, // as above
          director.scene(() => request.session),
        ),
      );
      const url = await app.listen({ port: 0, host: "127.0.0.1" });
      return director.stage({ url, port: Number(new URL(url).port), close: () => app.close() });
    },
  },
];
