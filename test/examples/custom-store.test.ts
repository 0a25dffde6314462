import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { folderStore, start } from "../../examples/custom-store.js";
import { runStoreContract } from "../contract/store.ts";
import { Browser } from "../support/browser.ts";
import { opened } from "./example.ts";

const newFolder = (): Promise<string> => mkdtemp(join(tmpdir(), "holdfast-folder-store-"));

runStoreContract("the folder store of the examples", async (clock) => {
  const folder = await newFolder();
  return {
    store: folderStore(folder, () => clock.now()),
    end: () => rm(folder, { recursive: true }),
  };
});

describe("the folder store of the examples", () => {
  it("keeps sessions over a restart of the app", async () => {
    const folder = await newFolder();
    onTestFinished(() => rm(folder, { recursive: true }));
    const before = await opened(start(0, folder));
    const browser = new Browser(before.url);
    expect((await browser.get("/")).json()).toEqual({ views: 1 });
    await before.close();

    const after = await opened(start(0, folder));
    onTestFinished(() => after.close());
    expect((await browser.at(after.url).get("/")).json()).toEqual({ views: 2 });
  });

  it("holds nothing that is in the cookie", async () => {
    const folder = await newFolder();
    onTestFinished(() => rm(folder, { recursive: true }));
    const app = await opened(start(0, folder));
    onTestFinished(() => app.close());
    const browser = new Browser(app.url);
    await browser.get("/");
    const [secret = ""] = browser.cookies.get("sid")?.split(".") ?? [];
    expect(secret).toMatch(/^[\w-]{32}$/);

    const files = await readdir(folder);
    expect(files).toHaveLength(1);
    for (const file of files) expect(`${file} ${await readFile(join(folder, file), "utf8")}`).not.toContain(secret);
  });
});
