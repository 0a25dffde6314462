// @ts-check
/**
 * A store of one's own: one file a session, so that sessions survive a restart without a server beside the app. Four
 * verbs and a clock are all that holdfast asks; `storeContract` of `holdfast/testing` says whether they are right.
 * For one process: what makes compare and set one step here is that nothing else runs in between.
 *
 * $ node examples/custom-store.js
 * $ curl -b jar -c jar localhost:3000/                   # 200 {"views":1}
 * $ curl -b jar -c jar localhost:3000/                   # 200 {"views":2}
 * $ curl -b jar -c jar -X POST localhost:3000/logout     # 204
 * $ curl -b jar -c jar localhost:3000/                   # 200 {"views":1}
 */
import { createHash, randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import express from "express";
import { session } from "holdfast/express";

/** @typedef {import("holdfast").StoreRecord} StoreRecord */

/**
 * @param {string} folder
 * @param {() => number} [now] epoch ms
 * @returns {import("holdfast").Store}
 */
export function folderStore(folder, now = Date.now) {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const fileOf = (/** @type {string} */ key) => join(folder, createHash("sha256").update(key).digest("hex"));

  /** What stands under the key; what is past its deadline is as good as removed. */
  const find = (/** @type {string} */ key, /** @type {import("holdfast").StoreCall} */ call) => {
    if (performance.now() >= call.deadline) throw new Error("too late: the caller has given up");
    const text = existsSync(fileOf(key)) ? readFileSync(fileOf(key), "utf8") : "null";
    const record = JSON.parse(text, (name, value) => (name === "payload" ? Buffer.from(value, "base64") : value));
    const isOver = now() >= Math.min(record?.expiresAt ?? 0, record?.absoluteExpiresAt ?? Infinity);
    return isOver ? undefined : /** @type {StoreRecord} */ (record);
  };

  const put = (/** @type {string} */ key, /** @type {StoreRecord} */ record) => {
    const payload = "payload" in record ? Buffer.from(record.payload).toString("base64") : undefined;
    writeFileSync(`${fileOf(key)}.new`, JSON.stringify({ ...record, payload }), { mode: 0o600 });
    renameSync(`${fileOf(key)}.new`, fileOf(key)); // never half a record, whenever the process ends
  };

  return {
    now,
    async read(key, call) {
      return find(key, call);
    },
    async write(key, record, expected, call) {
      const current = find(key, call);
      const stands = current === undefined ? "absent" : "version" in current && current.version;
      if (stands !== expected) return { ok: false, current };
      const version = randomUUID();
      put(key, { ...record, version });
      return { ok: true, version };
    },
    async touch(key, { version, touchedAt, expiresAt }, call) {
      const current = find(key, call);
      if (current?.kind !== "live") return "gone";
      if (current.version !== version || current.touchedAt > touchedAt) return "superseded";
      put(key, { ...current, touchedAt, expiresAt });
      return "touched";
    },
    async remove(key, { reason, until }, call) {
      const current = find(key, call);
      const earlier = current?.kind === "ended" ? current : { reason, expiresAt: until };
      put(key, { kind: "ended", reason: earlier.reason, expiresAt: Math.max(earlier.expiresAt, until) });
      return current;
    },
  };
}

/** @param {number} port */
export function start(port, folder = join(tmpdir(), "holdfast-sessions")) {
  const app = express();
  app.use(session({ secret: "for this example only: 32 characters at least", store: folderStore(folder) }));

  app.get("/", (req, res) => {
    req.session.views = (req.session.views ?? 0) + 1;
    res.json({ views: req.session.views });
  });

  app.post("/logout", async (req, res) => {
    await req.session.destroy();
    res.status(204).end();
  });

  return app.listen(port);
}

if (process.argv[1] === import.meta.filename) {
  const server = start(Number(process.env.PORT ?? 3000));
  process.once("SIGTERM", () => {
    server.close(); // what is under way is answered
    server.keepAliveTimeout = 1; // and no idle connection waited for
  });
}
