// A Fastify app in CommonJS, as a user of the package writes it.
const Fastify = require("fastify");
const { session } = require("holdfast/fastify");

const app = Fastify();
app.register(session, { secret: "a secret for the package test, long enough" });
app.get("/", async (request) => {
  const before = request.session.userId;
  request.session.userId = "ada";
  request.session.views = (request.session.views ?? 0) + 1;
  return { before, views: request.session.views };
});
app.listen({ port: 0, host: "127.0.0.1" }).then(() => console.log(app.server.address().port));
