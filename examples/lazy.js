// @ts-check
/**
 * Sessions that are loaded only where a route asks for them: `load: "lazy"` and `sessionOf`. The store hears nothing of
 * all the other requests, and if it is down, they are answered all the same.
 *
 * $ node examples/lazy.js
 * $ curl -b jar -c jar -X POST localhost:3000/views   # 200 {"views":1}
 * $ curl -b jar -c jar localhost:3000/about           # 200 {"reads":0}
 * $ curl -b jar -c jar localhost:3000/views           # 200 {"views":1}
 * $ curl -b jar -c jar localhost:3000/about           # 200 {"reads":1}
 * $ curl -b jar -c jar localhost:3000/wrong           # 500 {"error":"ERR_SESSION_NOT_LOADED"}
 */
import express from "express";
import { sessionOf } from "holdfast";
import { session } from "holdfast/express";
import { memoryStore } from "holdfast/memory";

/** @param {number} port */
export function start(port) {
  const store = memoryStore();
  const read = store.read.bind(store);
  let reads = 0;
  store.read = (key, call) => {
    reads++;
    return read(key, call);
  };

  const app = express();
  app.use(session({ secret: "for this example only: 32 characters at least", store, load: "lazy" }));

  app.get("/about", (_req, res) => {
    res.json({ reads });
  });

  app.get("/views", async (req, res) => {
    const session = await sessionOf(req);
    res.json({ views: session.views ?? 0 });
  });

  app.post("/views", async (req, res) => {
    const session = await sessionOf(req);
    session.views = (session.views ?? 0) + 1;
    res.json({ views: session.views });
  });

  app.get("/wrong", (req, res) => {
    res.json({ views: req.session.views }); // throws: nobody has loaded it
  });

  /** @type {express.ErrorRequestHandler} */
  const onError = (error, _req, res, _next) => {
    res.status(error.status ?? 500).json({ error: error.code });
  };
  app.use(onError);

  return app.listen(port);
}

if (process.argv[1] === import.meta.filename) {
  const server = start(Number(process.env.PORT ?? 3000));
  process.once("SIGTERM", () => {
    server.close(); // what is under way is answered
    server.keepAliveTimeout = 1; // and no idle connection waited for
  });
}
