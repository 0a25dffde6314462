/**
 * When a response is over: it has been sent, or its client went away. A handler that goes on after that and answers all
 * the same (`raw.end()`, into nothing) is done only then, and what it changed meanwhile is to be saved. Used by `koa.ts`
 * and `fastify-departure.ts`; Express's gate sees each call anyway.
 */
import type { ServerResponse } from "node:http";

/** Calls `finish` when `response` closes, and once more when an app ends one whose client had gone before. */
export function whenOver(response: ServerResponse, finish: () => void): void {
  response.once("close", () => {
    if (!response.writableEnded) alsoAfterEnd(response, finish);
    finish();
  });
}

function alsoAfterEnd(response: ServerResponse, finish: () => void): void {
  const { end } = response;
  // All forms of `end` pass through unchanged.
  response.end = function ended(this: ServerResponse, ...args: never[]) {
    const result = Reflect.apply(end, response, args);
    finish();
    return result;
  } as ServerResponse["end"];
}
