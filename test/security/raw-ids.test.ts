/** What looks through the output of every run of the tests for their raw ids: it would find one, wherever it stood. */
import { expect, it } from "vitest";
import { folderVariable, idsIn, wordsIn } from "../../.ci/raw-ids.mjs";
import { createSessions, memoryStore } from "../../src/index.ts";
import { readSetCookie } from "../support/browser.ts";
import { Client } from "../support/exchange.ts";

it("[no id in logs] finds the secret and the signature of a cookie in any text, and no public id", async () => {
  const sessions = createSessions({ secret: "a secret of the tests of raw ids, 32 characters", store: memoryStore() });
  const client = new Client(sessions);
  let id = "";
  await client.request((session) => {
    session["user"] = "ada";
    id = session.id;
  });
  const { value } = readSetCookie(client.cookie ?? "");
  const [secret = "", signature = ""] = value.split(".");
  const ids = new Set([secret, signature]);
  const printed = (text: string) => [...idsIn(wordsIn(text), ids)];
  expect(printed(`session ${id} of holdfast:${id}`)).toEqual([]);
  expect(printed(`Error: refused ${secret}\n    at x`)).toEqual([secret]);
  expect(printed(`key=prefix-${secret}_x`)).toEqual([secret]);
  expect(printed(`{"cookie":"sid=${value}; Path=/"}`)).toEqual([secret, signature]);
});

it("[no id in logs] the output of this run is looked through", () => {
  expect(process.env[folderVariable]).toBeTypeOf("string");
});
