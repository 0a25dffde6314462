/** Express 4 is installed under an alias without types of its own; what the tests use is the same in Express 5. */
declare module "express4" {
  export { default } from "express";
}
