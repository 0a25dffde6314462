/** What widespread middleware does to a response, in short: the compression package and on-headers. */
import type { ServerResponse } from "node:http";
import { createGzip } from "node:zlib";

/** As the compression package does: it takes over write, end and `on("drain")`, and begins when the head leaves. */
export function compress(response: ServerResponse): void {
  const { write, end, on } = response;
  const gzip = createGzip({ level: 0 });
  let waiting: ((...args: unknown[]) => void)[] | undefined = [];
  let isEnded = false;
  onHead(response, () => {
    response.setHeader("Content-Encoding", "gzip");
    for (const listener of waiting ?? []) gzip.on("drain", listener);
    waiting = undefined;
    gzip.on("data", (part) => {
      if (write.call(response, part, "latin1") === false) gzip.pause();
    });
    gzip.on("end", () => void Reflect.apply(end, response, []));
    on.call(response, "drain", () => gzip.resume());
  });
  const startHead = (): void => {
    // What compression asks, and how it makes Node send the head.
    if (!Reflect.get(response, "_header")) Reflect.get(response, "_implicitHeader").call(response);
  };
  Object.assign(response, {
    write(part: Buffer) {
      if (isEnded) return false;
      startHead();
      return gzip.write(part);
    },
    end(part?: Buffer) {
      if (isEnded) return response;
      isEnded = true;
      startHead();
      gzip.end(part);
      return response;
    },
    on(event: string, listener: (...args: unknown[]) => void) {
      if (event !== "drain") return on.call(response, event, listener);
      if (waiting === undefined) return gzip.on("drain", listener);
      waiting.push(listener);
      return response;
    },
  });
}

/** As on-headers does: `writeHead` is wrapped, its headers are set one by one, the listener runs once. */
export function onHead(response: ServerResponse, listener = (): void => void response.setHeader("X-Head", "1")): void {
  const { writeHead } = response;
  let isDone = false;
  Object.assign(response, {
    writeHead(status: number, headers: Record<string, string> = {}) {
      response.statusCode = status;
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      if (!isDone) listener();
      isDone = true;
      return writeHead.call(response, status);
    },
  });
}
