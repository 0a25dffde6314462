/**
 * Rows of the response matrix: answers that compression middleware changes on their way, mounted before and after ours.
 * The packages that apps use, for every answer (no threshold), with their own defaults otherwise.
 */
import fastifyCompress from "@fastify/compress";
import compression from "compression";
import koaCompress from "koa-compress";
import type { Wrapping } from "../support/response-hosts.ts";
import type { Row } from "../support/response-matrix.ts";
import { plain, redirect, streamed, thrown } from "./response-rows.ts";

const packages: Wrapping = {
  express: compression({ threshold: 0 }),
  koa: koaCompress({ threshold: 0 }),
  fastify: (app) => app.register(fastifyCompress, { threshold: 0 }),
};

const answers: Record<string, Row> = {
  "a stream": streamed(() => ["x".repeat(5000), "y".repeat(70_000)]),
  json: plain(200, {}, { big: "x".repeat(5000) }),
  "a text": plain(200, {}, "x".repeat(5000)),
  "a handler that throws": thrown,
  204: plain(204, {}),
  "a redirect": redirect,
  "HEAD of json": { ...plain(200, {}, { big: "x".repeat(5000) }), method: "HEAD" },
};

/** Each answer behind the packages, and before them. */
export const compressedRows: Record<string, Row> = Object.fromEntries(
  (["before", "after"] as const).flatMap((mounted) =>
    Object.entries(answers).map(([name, row]) => [
      `${name}, compression mounted ${mounted}`,
      { ...row, headers: ["Accept-Encoding: gzip"], [mounted]: packages },
    ]),
  ),
);
