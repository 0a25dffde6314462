/** The older majors that tests install under another name are typed as the current ones: the parts in use are the same. */
declare module "koa2" {
  export { default } from "koa";
}
declare module "express4" {
  export { default } from "express";
}
/** A peer, mounted beside ours; its own types would declare `req.session` a second time. */
declare module "express-session" {
  const otherSessions: (options: object) => import("express").RequestHandler;
  export = otherSessions;
}
