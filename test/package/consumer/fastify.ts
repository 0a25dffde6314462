/** A Fastify app in ESM TypeScript, as a user of the package writes it. */
import type { AddressInfo } from "node:net";
import Fastify from "fastify";
import { session } from "holdfast/fastify";
import "./session-data.js";

const app = Fastify();
await app.register(session, { secret: "a secret for the package test, long enough" });
app.get("/", async (request) => {
  const before: string | undefined = request.session.userId;
  // @ts-expect-error the augmentation says that it is a string
  request.session.userId = 7;
  request.session.userId = "ada";
  request.session.views = (request.session.views ?? 0) + 1;
  return { before, views: request.session.views };
});
await app.listen({ port: 0, host: "127.0.0.1" });
console.log((app.server.address() as AddressInfo).port);
