/** A Koa app in ESM TypeScript, as a user of the package writes it. */
import type { AddressInfo } from "node:net";
import { session } from "holdfast/koa";
import Koa from "koa";
import "./session-data.js";

const app = new Koa();
app.use(session({ secret: "a secret for the package test, long enough" }));
app.use((ctx) => {
  const before: string | undefined = ctx.session.userId;
  // @ts-expect-error the augmentation says that it is a string
  ctx.session.userId = 7;
  ctx.session.userId = "ada";
  ctx.session.views = (ctx.session.views ?? 0) + 1;
  ctx.body = { before, views: ctx.session.views };
});
const server = app.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));
