// A Fastify app in plain JavaScript, as a user of the package writes it.
import Fastify from "fastify";
import { session } from "holdfast/fastify";

const app = Fastify();
await app.register(session, { secret: "a secret for the package test, long enough" });
app.get("/", async (request) => {
  const before = request.session.userId;
  request.session.userId = "ada";
  request.session.views = (request.session.views ?? 0) + 1;
  return { before, views: request.session.views };
});
await app.listen({ port: 0, host: "127.0.0.1" });
console.log(app.server.address().port);
