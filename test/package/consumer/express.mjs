// An Express app in plain JavaScript, as a user of the package writes it.
import express from "express";
import { session } from "holdfast/express";

const app = express();
app.use(session({ secret: "a secret for the package test, long enough" }));
app.get("/", (req, res) => {
  const before = req.session.userId;
  req.session.userId = "ada";
  req.session.views = (req.session.views ?? 0) + 1;
  res.json({ before, views: req.session.views });
});
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
