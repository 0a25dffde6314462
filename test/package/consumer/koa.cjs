// A Koa app in CommonJS, as a user of the package writes it.
const { session } = require("holdfast/koa");
const Koa = require("koa");

const app = new Koa();
app.use(session({ secret: "a secret for the package test, long enough" }));
app.use((ctx) => {
  const before = ctx.session.userId;
  ctx.session.userId = "ada";
  ctx.session.views = (ctx.session.views ?? 0) + 1;
  ctx.body = { before, views: ctx.session.views };
});
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
