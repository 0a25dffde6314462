/** The adapter contract's driver for Express 4 and 5. */
import { createServer } from "node:http";
import { Readable } from "node:stream";
import type { Express, NextFunction, Request, Response } from "express";
import { session } from "../../adapters/express.ts";
import { type AdapterDriver, answer, type Reply, routeContext } from "../contract/adapter.ts";
import { listen } from "./listen.ts";

/** A driver for one of the two; their types are the same here. */
export function expressDriver(name: string, express: () => Express, failsAtAccess: boolean): AdapterDriver {
  return {
    name,
    failsAtAccess,
    async start(plan) {
      const app = express();
      app.use(session(plan.session));
      for (const [path, route] of Object.entries(plan.routes)) {
        app.all(path, (request, response, next) => {
          const given = route(routeContext(request, request, request.originalUrl));
          if (!(given instanceof Promise)) return send(response, answer(given));
          // Express 4 leaves the rejections of async handlers to the app.
          return given.then((late) => send(response, answer(late))).catch(next);
        });
      }
      const { onError } = plan;
      if (onError) {
        app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
          send(response, answer(onError(error, routeContext(request, request, request.originalUrl))));
        });
      }
      return listen(createServer(app));
    },
  };
}

function send(response: Response, { status, headers, body }: Reply): void {
  response.status(status).set(headers);
  if (body instanceof Readable) body.pipe(response);
  else if (typeof body === "object") response.json(body);
  else response.send(body);
}
