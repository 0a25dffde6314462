/** The older majors that tests install under another name are typed as the current ones: the parts in use are the same. */
declare module "koa2" {
  export { default } from "koa";
}
declare module "express4" {
  export { default } from "express";
}
