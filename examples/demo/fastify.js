// @ts-check
/** The demo on Fastify. */
import Fastify from "fastify";
import { session } from "holdfast/fastify";
import { answerTo, notFound, wrongType } from "./http.js";
import { renderPage, securityHeaders } from "./page.js";
import { routes } from "./shop.js";

/**
 * @param {import("holdfast").Sessions} sessions
 * @param {import("./page.js").Place} place
 */
export async function onFastify(sessions, place) {
  const app = Fastify();
  app.addHook("onRequest", async (_request, reply) => {
    reply.headers(securityHeaders);
  });
  // The routes read the body themselves (see http.js).
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
  app.get("/", async (_request, reply) => reply.type("text/html; charset=utf-8").send(renderPage("fastify", place)));
  await app.register(session, { sessions });
  for (const { method, path, answer } of routes) {
    app[method](path, async (request) =>
      answer({ framework: "fastify", session: request.session, request: request.raw }),
    );
  }
  app.setNotFoundHandler(async () => {
    throw notFound;
  });
  app.setErrorHandler(async (/** @type {import("fastify").FastifyError} */ error, _request, reply) => {
    // The one mistake that Fastify finds before a route could.
    const isWrongType = error.code === "FST_ERR_CTP_INVALID_MEDIA_TYPE";
    const { status, headers, body } = answerTo(isWrongType ? wrongType : error);
    return reply.status(status).headers(headers).send(body);
  });
  await app.ready();
  app.server.once("close", () => app.close());
  return app.server;
}
