/** An Express app in ESM TypeScript, as a user of the package writes it. */
import type { AddressInfo } from "node:net";
import express from "express";
import { createSessions, memoryStore } from "holdfast";
import { session } from "holdfast/express";
import "./session-data.js";

const sessions = createSessions({ secret: "a secret for the package test, long enough", store: memoryStore() });
const app = express();
app.use(session(sessions));
app.get("/", (req, res) => {
  const before: string | undefined = req.session.userId;
  // @ts-expect-error the augmentation says that it is a string
  req.session.userId = 7;
  req.session.userId = "ada";
  req.session.views = (req.session.views ?? 0) + 1;
  res.json({ before, views: req.session.views });
});
const server = app.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));
