/**
 * Notes the raw ids that tests come to hold, and what programs print whose output tests read, in the folder that
 * `.ci/raw-ids.mjs` looks through after the run. Without that folder nothing is noted.
 */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll } from "vitest";
import { folderVariable, wordsIn } from "../../.ci/raw-ids.mjs";

const folder = process.env[folderVariable];
const noted = { ids: new Set<string>(), words: new Set<string>() };

/** Notes the secret and the signature of a cookie that a response set. */
export function noteCookie(value: string): void {
  const [, secret, signature] = /^([\w-]{22,128})\.([\w+/-]{43})(?:\.|$)/.exec(value) ?? [];
  if (secret === undefined || signature === undefined) return;
  add("ids", [secret, signature]);
}

/** Notes what a program printed. */
export function noteOutput(chunk: unknown): void {
  add("words", wordsIn(String(chunk)));
}

function add(kind: keyof typeof noted, texts: readonly string[]): void {
  if (folder === undefined) return;
  for (const text of texts) noted[kind].add(text);
  if (noted[kind].size >= 1_000) flush(kind);
}

function flush(kind: keyof typeof noted): void {
  if (folder === undefined || noted[kind].size === 0) return;
  appendFileSync(join(folder, `${process.pid}.${kind}`), `${[...noted[kind]].join("\n")}\n`);
  noted[kind].clear();
}

// Each file of tests has a copy of this module.
afterAll(() => {
  flush("ids");
  flush("words");
});
