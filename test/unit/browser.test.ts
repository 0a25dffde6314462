/** The tests' own browser: a refusal that a test never looks at fails it. */
import { createServer } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Browser } from "../support/browser.ts";
import { listen, type RunningApp } from "../support/listen.ts";

/** Answers with the status that is asked for. */
let app: RunningApp;
beforeAll(async () => {
  const server = createServer((req, res) => void res.writeHead(Number(req.url?.slice(1))).end("no JSON"));
  app = await listen(server);
});
afterAll(() => app.close());

describe("an answer whose status nobody looks at", () => {
  it.fails("fails its test where it is a 404, though its text was read", async () => {
    expect((await new Browser(app.url).get("/404")).text).toBe("no JSON");
  });

  it.fails("fails its test where it is a 500 among others", async () => {
    await Promise.all(["/200", "/500", "/204"].map((path) => new Browser(app.url).get(path)));
  });

  it("is no fault where it is a success or a redirect", async () => {
    for (const path of ["/200", "/204", "/303"]) await new Browser(app.url).get(path);
  });
});

describe("an answer whose status a test looks at", () => {
  it("is the test's own to judge, also as a response that is read later", async () => {
    expect((await new Browser(app.url).get("/404")).status).toBe(404);
    expect(await new Browser(app.url).get("/500")).toMatchObject({ status: 500 });
    expect((await new Browser(app.url).open("/503")).ok).toBe(false);
  });

  it("is told with what is no JSON", async () => {
    const answer = await new Browser(app.url).get("/503");
    expect(() => answer.json()).toThrow("/503 answered 503 with what is no JSON: no JSON");
  });
});
