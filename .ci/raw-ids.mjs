// @ts-check
/**
 * No id in a log: all that a run of the tests prints (by workers, by what they start, in warnings and errors) is looked
 * through for the secrets and signatures of the cookies that the tests were given. `test/support/raw-ids.ts` notes those,
 * and the output of programs that tests read themselves; `closing-line.mjs` asks at the end.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Names the folder in which tests leave files: `*.ids`, and `*.words` of what programs printed. */
export const folderVariable = "HOLDFAST_RAW_IDS";

/** What may hold an id: a secret is base64url, a signature base64. @param {string} text */
export function wordsIn(text) {
  return text.match(/[\w+/-]{22,}/g) ?? [];
}

/**
 * Those ids that stand in any of the words, alone or as a part.
 * @param {Iterable<string>} words
 * @param {ReadonlySet<string>} ids
 */
export function idsIn(words, ids) {
  const lengths = [...new Set([...ids].map(({ length }) => length))];
  /** @type {Set<string>} */
  const found = new Set();
  for (const word of words) {
    for (const length of lengths) {
      for (let at = 0; at + length <= word.length; at++) {
        const part = word.slice(at, at + length);
        if (ids.has(part)) found.add(part);
      }
    }
  }
  return found;
}

/** Takes note of all that this process prints from now on. */
export function watchOutput() {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-ids-"));
  process.env[folderVariable] = folder;
  /** @type {Set<string>} */
  const words = new Set();
  for (const stream of [process.stdout, process.stderr]) {
    const write = stream.write;
    let rest = "";
    stream.write = (/** @type {[any, any?, any?]} */ ...args) => {
      const text = rest + String(args[0]);
      for (const word of wordsIn(text)) words.add(word);
      // The last word may go on in the next piece.
      rest = text.slice(-256).match(/[\w+/-]*$/)?.[0] ?? "";
      return write.apply(stream, args);
    };
  }
  return {
    /** The ids noted, and those of them that were printed. The folder is gone then. */
    result: () => {
      /** @type {Set<string>} */
      const ids = new Set();
      for (const file of readdirSync(folder)) {
        const lines = readFileSync(join(folder, file), "utf8").split("\n");
        for (const line of lines) if (line !== "") (file.endsWith(".ids") ? ids : words).add(line);
      }
      rmSync(folder, { recursive: true, force: true });
      return { ids: ids.size, words: words.size, printed: [...idsIn(words, ids)] };
    },
  };
}
