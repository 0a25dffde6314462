/** `NODE_DEBUG` is read once, when a process starts: this runs the built package in one of its own. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { ensureBuilt } from "../../.ci/build.mjs";
import { root } from "../../.ci/dependencies.mjs";

const script = `
  import { createServer } from "node:http";
  import { createSessions, memoryStore } from "holdfast";
  import { signIn } from "holdfast/testing";

  const secret = "a secret of at least thirty-two characters";
  let now = 1_700_000_000_000;
  const store = memoryStore({ clock: () => now });
  const sessions = createSessions({ secret, store, ttl: "1h" });
  const elsewhere = createSessions({ secret, store: memoryStore() });
  const otherKey = createSessions({ secret: secret + "!", store });
  const open = (cookie) => sessions.fromRequest({ headers: { cookie }, socket: {} });

  const [badKey, unknown, ended, garbage, expired] = [
    await signIn(otherKey, {}),
    await signIn(elsewhere, {}),
    await signIn(sessions, {}),
    await signIn(sessions, {}),
    await signIn(sessions, {}),
  ];
  await (await open(ended.cookie)).destroy();
  const call = { deadline: Infinity, durable: false };
  const { version, ...record } = await store.read(garbage.id, call);
  await store.write(garbage.id, { ...record, payload: Buffer.from("no session") }, version, call);

  console.error("-- the requests");
  await open(undefined);
  await open(badKey.cookie);
  await open("sid=nonsense");
  await open(unknown.cookie);
  await open(ended.cookie);
  void (await open(garbage.cookie)).user;
  now += 3_600_000;
  await open(expired.cookie);
  console.log(JSON.stringify({ secrets: [ended, garbage, expired].map(({ cookie }) => cookie.slice(4)) }));
`;

describe("NODE_DEBUG=holdfast", () => {
  beforeAll(() => ensureBuilt());

  it("says why each session is empty, with public ids only", async () => {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
      cwd: root,
      env: { ...process.env, NODE_DEBUG: "holdfast" },
    });
    const reasons = [
      ...(stderr.split("-- the requests")[1] ?? "").matchAll(/^HOLDFAST \d+: empty session: (.+)$/gm),
    ].map(([, line = ""]) => line.replace(/ \(id [\w-]{43}\)/, " (id)"));
    expect(reasons).toEqual([
      "no cookie",
      "bad signature",
      "malformed",
      "unknown (id)",
      "ended (logout) (id)",
      "garbage: the payload has no first line (id)",
      "expired (id)",
    ]);
    const { secrets } = JSON.parse(stdout) as { secrets: string[] };
    for (const secret of secrets) expect(stderr).not.toContain(secret.slice(0, 20));
  });
});
