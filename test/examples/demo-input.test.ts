import { once } from "node:events";
import { createConnection } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startRedis } from "../support/redis-server.ts";
import { type Demo, frameworks, startDemo, Visitor } from "./demo.ts";

let demo: Demo;
beforeAll(async () => {
  demo = await startDemo();
});
afterAll(() => demo.close());

const json = "application/json";
const tooLong = "x".repeat(101);

/** What is wrong with it, the body, its content type, and the status that answers it. */
const mistakes: [what: string, body: string | Uint8Array, type: string | undefined, status: number][] = [
  ["no body at all", "", json, 400],
  ["half of a JSON text", '{"item":', json, 400],
  ["what is no JSON", "item=kelp", json, 400],
  ["bytes that are no UTF-8", new Uint8Array([0x22, 0xff, 0x22]), json, 400],
  ["null", "null", json, 400],
  ["a number", "7", json, 400],
  ["a string", '"kelp"', json, 400],
  ["an array", '[{"item":"kelp","user":"ada"}]', json, 400],
  ["an empty object", "{}", json, 400],
  ["a number for a text", '{"item":7,"user":7}', json, 400],
  ["null for a text", '{"item":null,"user":null}', json, 400],
  ["an object for a text", '{"item":{},"user":{}}', json, 400],
  ["an array for a text", '{"item":["kelp"],"user":["ada"]}', json, 400],
  ["an empty text", '{"item":"","user":""}', json, 400],
  ["blanks for a text", '{"item":" \\t","user":" \\n "}', json, 400],
  ["a text of 101 characters", JSON.stringify({ item: tooLong, user: tooLong }), json, 400],
  ["a text in the prototype", '{"__proto__":{"item":"kelp","user":"ada"}}', json, 400],
  ["deep nesting", "[".repeat(8_000), json, 400],
  ["17 KiB", JSON.stringify({ item: "x".repeat(17 * 1024), user: "ada" }), json, 413],
  ["a megabyte", "x".repeat(1024 * 1024), json, 413],
  ["a form", "item=kelp&user=ada", "application/x-www-form-urlencoded", 415],
  ["plain text, as another site's form could send it", '{"item":"kelp","user":"ada"}', "text/plain", 415],
  ["no content type", new TextEncoder().encode('{"item":"kelp","user":"ada"}'), undefined, 415],
  ["a content type that is none", '{"item":"kelp","user":"ada"}', "garbage", 415],
];

describe.each(["POST /api/cart", "POST /api/login"])("%s", (route) => {
  it.each(mistakes)(
    "refuses %s with the same words on each framework, and begins no session",
    async (_, body, type, status) => {
      const answers = [];
      for (const framework of frameworks) {
        const response = await fetch(demo.urls[framework] + route.split(" ")[1], {
          method: "POST",
          headers: type === undefined ? {} : { "content-type": type },
          body,
        });
        expect(response.status, framework).toBe(status);
        expect(response.headers.get("content-type"), framework).toMatch(/^application\/json/);
        expect(response.headers.getSetCookie(), framework).toEqual([]);
        answers.push(await response.json());
      }
      expect(answers[0]).toEqual({ error: expect.stringMatching(/^[A-Z"].+\.$/) });
      expect(answers).toEqual([answers[0], answers[0], answers[0]]);
    },
  );

  it("takes a text of 100 characters, in any script", async () => {
    for (const framework of frameworks) {
      const visitor = new Visitor(demo.urls);
      const text = "Ωλ漢🙂".padEnd(100, "é");
      const answer = await visitor.call(
        framework,
        route,
        { item: text, user: text, more: true },
        {
          "content-type": "Application/JSON; charset=utf-8",
        },
      );
      expect(answer.status).toBe(200);
      const { cart, user } = await visitor.session(framework);
      expect(route.endsWith("cart") ? cart[0] : user).toBe(text);
    }
  });
});

describe("the demo", () => {
  it("answers what is not there with the same 404 on each framework", async () => {
    for (const framework of frameworks) {
      for (const line of ["GET /nothing", "PUT /api/cart", "POST /", "GET /api/views", "GET /api/session/x"]) {
        const answer = await new Visitor(demo.urls).call(framework, line);
        expect(answer.status, `${framework} ${line}`).toBe(404);
        expect(answer.json()).toEqual({ error: "There is nothing here." });
      }
    }
  });

  it("ignores a body where none is wanted, on each framework", async () => {
    for (const framework of frameworks) {
      const visitor = new Visitor(demo.urls);
      for (const type of ["application/json", "text/plain"]) {
        const answer = await visitor.call(framework, "POST /api/views", "{not json", { "content-type": type });
        expect(answer.status, `${framework} ${type}`).toBe(200);
      }
      expect((await visitor.session(framework)).views).toBe(2);
    }
  });

  it("survives a client that goes away in the middle of its body", async () => {
    for (const framework of frameworks) {
      const socket = createConnection(Number(new URL(demo.urls[framework]).port), "localhost");
      await once(socket, "connect");
      socket.write(
        "POST /api/cart HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
      );
      await new Promise((resolve) => socket.write(" ", resolve));
      socket.destroy();
      expect((await new Visitor(demo.urls).session(framework)).framework).toBe(framework);
    }
  });

  it("answers a page that loads nothing from elsewhere and runs nothing but its own script", async () => {
    for (const framework of frameworks) {
      const { status, headers, text, setCookies } = await new Visitor(demo.urls).call(framework, "GET /");
      expect(status).toBe(200);
      expect(headers.get("content-type")).toMatch(/^text\/html; charset=utf-8$/i);
      expect(headers.get("content-security-policy")).toMatch(
        /default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-/,
      );
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("x-powered-by")).toBeNull();
      expect(setCookies).toEqual([]);
      expect(text).not.toMatch(/{{|undefined|NaN/);
      for (const [, url = ""] of text.matchAll(/(?:href|src)="([^"]+)"/g)) {
        expect(Object.values(demo.urls).some((own) => url === `${own}/`) || url.startsWith("data:"), url).toBe(true);
      }
    }
  });

  it("answers 503 while Redis is away, the page all the same, and goes on when it is back", async () => {
    const redis = await startRedis({ appendonly: true });
    const other = await startDemo(redis.url);
    try {
      const visitor = new Visitor(other.urls);
      await visitor.call("koa", "POST /api/login", { user: "ada" });
      await redis.kill();
      for (const framework of frameworks) {
        const answer = await visitor.call(framework, "POST /api/views");
        expect(answer.status, framework).toBe(503);
        expect(answer.headers.get("retry-after")).toBe("1");
        expect(answer.json()).toEqual({ error: "The session store does not answer. Try again soon." });
        expect(answer.setCookies).toEqual([]);
        expect((await visitor.call(framework, "GET /")).status).toBe(200);
      }
      await redis.restart();
      await expect.poll(async () => (await visitor.call("koa", "GET /api/session")).status).toBe(200);
      for (const framework of frameworks) expect((await visitor.session(framework)).user).toBe("ada");
    } finally {
      await other.close();
      await redis.stop();
    }
  });
});
