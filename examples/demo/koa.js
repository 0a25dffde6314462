// @ts-check
/** The demo on Koa. */
import { createServer } from "node:http";
import { session } from "holdfast/koa";
import Koa from "koa";
import { answerTo, notFound } from "./http.js";
import { renderPage, securityHeaders } from "./page.js";
import { routes } from "./shop.js";

/**
 * @param {import("holdfast").Sessions} sessions
 * @param {import("./page.js").Place} place
 */
export function onKoa(sessions, place) {
  const app = new Koa();
  app.silent = true; // what went wrong is answered, and reported, right below
  app.use(async (ctx, next) => {
    ctx.set(securityHeaders);
    try {
      await next();
    } catch (error) {
      const { status, headers, body } = answerTo(error);
      ctx.status = status;
      ctx.set(headers);
      ctx.body = body;
    }
  });
  app.use(async (ctx, next) => {
    if (ctx.method !== "GET" || ctx.path !== "/") return next();
    ctx.type = "html";
    ctx.body = renderPage("koa", place);
  });
  app.use(session(sessions));
  app.use(async (ctx) => {
    const route = routes.find(({ method, path }) => method === ctx.method.toLowerCase() && path === ctx.path);
    if (route === undefined) throw notFound;
    ctx.body = await route.answer({ framework: "koa", session: ctx.session, request: ctx.req });
  });
  return createServer(app.callback());
}
