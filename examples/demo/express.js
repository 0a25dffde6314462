// @ts-check
/** The demo on Express. */
import { createServer } from "node:http";
import express from "express";
import { session } from "holdfast/express";
import { answerTo, notFound } from "./http.js";
import { renderPage, securityHeaders } from "./page.js";
import { routes } from "./shop.js";

/**
 * @param {import("holdfast").Sessions} sessions
 * @param {import("./page.js").Place} place
 */
export function onExpress(sessions, place) {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.use((_req, res, next) => {
    res.set(securityHeaders);
    next();
  });
  app.get("/", (_req, res) => {
    res.type("html").send(renderPage("express", place));
  });
  app.use(session(sessions));
  for (const { method, path, answer } of routes) {
    app[method](path, async (req, res) => {
      res.json(await answer({ framework: "express", session: req.session, request: req }));
    });
  }
  app.use((_req, _res, next) => next(notFound));
  /** @type {express.ErrorRequestHandler} */
  const onError = (error, _req, res, next) => {
    if (res.headersSent) return next(error);
    const { status, headers, body } = answerTo(error);
    res.status(status).set(headers).json(body);
  };
  app.use(onError);
  return createServer(app);
}
