/** Generated `Cookie` headers: over the engine by the thousand, and over HTTP. Nobody gets a session that isn't theirs. */
import { Agent, get } from "node:http";
import { parseCookie } from "cookie";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { readCookies, verifyCookie } from "../../src/cookie.ts";
import { createSessions, memoryStore, type Sessions } from "../../src/index.ts";
import { seed, tally, times } from "../support/counts.ts";
import { Client } from "../support/exchange.ts";
import { type Framework, frameworks } from "../support/frameworks.ts";
import { probeStore } from "../support/probe-store.ts";

const secret = "a secret of the tests of cookies, of good length";

interface User {
  name: string;
  id: string;
  /** The cookie's value. */
  value: string;
  /** The same without the node's route. */
  signed: string;
}

/** What one value says: the signature is ours, whatever route stands behind it. */
function isOf(value: string, user: User): boolean {
  return value === user.signed || value.startsWith(`${user.signed}.`);
}

async function signIn(sessions: Sessions, name: string): Promise<User> {
  const client = new Client(sessions);
  let id = "";
  await client.request((session) => {
    session.user = name;
    id = session.id;
  });
  const value = String(client.cookie).slice("sid=".length);
  return { name, id, value, signed: value.split(".", 2).join(".") };
}

/** Headers around the values of two users: whole, mutated, doubled, quoted, encoded, and among all kinds of junk. */
function headers(users: readonly User[], characters: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const whole = fc.constantFrom(...users.map(({ value }) => value));
  const at = fc.nat(76);
  const junk = fc.string({ unit: characters, maxLength: 20 });
  const route = fc.oneof(
    fc.constantFrom("n1", "n2", "", ".", "n1.n2", "N1", "n1=", "%00", '"n1"', "__proto__", "x".repeat(5000)),
    whole,
    junk,
  );
  const mutated = fc.oneof(
    fc.tuple(whole, at, characters).map(([value, i, c]) => value.slice(0, i) + c + value.slice(i + 1)),
    fc.tuple(whole, at).map(([value, i]) => value.slice(0, i)),
    fc.tuple(whole, at).map(([value, i]) => value.slice(i)),
    fc.tuple(whole, at, junk).map(([value, i, more]) => value.slice(0, i) + more + value.slice(i)),
    fc.tuple(whole, whole, at).map(([one, other, i]) => one.slice(0, i) + other.slice(i)),
    fc.tuple(whole, route).map(([value, suffix]) => `${value}.${suffix}`),
    fc.tuple(whole, route).map(([value, suffix]) => `${value}${suffix}`),
    whole.map((value) => value.toUpperCase()),
    whole.map((value) => `"${value}"`),
    whole.map((value) => `s:${value}`),
    whole.map((value) => encodeURIComponent(value)),
    whole.map((value) => [...value].map((c) => `%${c.charCodeAt(0).toString(16)}`).join("")),
    whole.map((value) => `${value}${"=".repeat(2)}`),
    whole.map((value) => value.repeat(50)),
  );
  const name = fc.oneof(
    { arbitrary: fc.constant("sid"), weight: 6 },
    fc.constantFrom("SID", "sid ", " sid", "__Host-sid", "sid[]", "xsid", "__proto__", "constructor", "toString", ""),
    junk,
  );
  const pair = fc
    .tuple(name, fc.constantFrom("=", "=", "=", "==", " = ", "", ":"), fc.oneof(whole, mutated, junk))
    .map((parts) => parts.join(""));
  const separator = fc.constantFrom("; ", "; ", ";", ",", " ", ";;", "&", "\t");
  return fc
    .array(fc.tuple(pair, separator), { minLength: 1, maxLength: 6 })
    .map((pairs) => pairs.flat().slice(0, -1).join(""));
}

/** What stands where the cookie's value is due: `w` whole, `o` another user's whole one. */
const forms: readonly ((w: string, o: string) => string)[] = [
  (w) => w,
  (w) => w.slice(0, -1),
  (w) => w.slice(1),
  (w) => `${w}=`,
  (w) => `${w}x`,
  (w) => ` ${w} `,
  (w) => `"${w}"`,
  (w) => `'${w}'`,
  (w) => `s:${w}`,
  (w) => `s%3A${w}`,
  (w) => w.replace(".", "%2E"),
  (w) => w.replace(".", ".."),
  (w) => w.replace(".", ""),
  (w) => w.replace(".", "\t."),
  (w) => w.toUpperCase(),
  (w) => w.toLowerCase(),
  (w, o) => w.slice(0, w.indexOf(".")) + o.slice(o.indexOf(".")),
  (w, o) => o.slice(0, o.indexOf(".")) + w.slice(w.indexOf(".")),
  (w) => w.slice(0, w.indexOf(".")),
  (w) => w.slice(w.indexOf(".")),
  (w) => `${w.slice(0, w.indexOf("."))}.`,
  (w) => w.repeat(2),
  (w) => w.repeat(100),
  (w, o) => `${w},${o}`,
  () => "",
  () => "null",
  () => "[object Object]",
  () => `${"A".repeat(32)}.${"A".repeat(43)}`,
  () => "../../etc/passwd",
  () => "%00",
  () => "%",
];

/** Where the value stands in the header. */
const frames: readonly ((value: string, o: string) => string)[] = [
  (value) => `sid=${value}`,
  (value) => `sid =${value}`,
  (value) => `SID=${value}`,
  (value) => `a=1; sid=${value}; b=2`,
  (value) => `;;;sid=${value};;;`,
  (value) => `a=1,sid=${value}`,
  (value) => `sid; sid=${value}`,
  (value) => `sid=; sid=${value}`,
  (value, o) => `sid=${value}; sid=${o}`,
  (value, o) => `sid=x; sid=y; sid=z; sid=q; sid=${value}; sid=${o}`,
  (value) => `__proto__=1; sid=${value}; constructor=2`,
  (value) => `sid=${value}; sid[]=1; sid.x=2; xsid=3`,
];

/** Headers as an attacker, a proxy or a broken client would write them: every form in every place. */
function madeByHand(users: readonly User[]): string[] {
  const [w = "", o = ""] = users.map(({ value }) => value);
  return frames.flatMap((frame) => forms.map((form) => frame(form(w, o), o)));
}

/** Whoever the header names, by the plainest of readings: the first of four `sid` values that is whole, but for a route. */
function expectedUser(header: string, users: readonly User[]): string | undefined {
  // RFC 6265 knows spaces and tabs around names and values, no other white space.
  const trim = (text = ""): string => text.replace(/^[ \t]+|[ \t]+$/g, "");
  const values = header
    .split(";")
    .map((part) => part.split("="))
    // Without "=" it is no pair.
    .filter(([name, ...rest]) => trim(name) === "sid" && rest.length > 0)
    .map(([, ...rest]) => trim(rest.join("=")))
    .slice(0, 4);
  const first = values.find((value) => users.some((user) => isOf(value, user)));
  return first === undefined ? undefined : users.find((user) => isOf(first, user))?.name;
}

describe(`generated Cookie headers (seed ${seed})`, () => {
  const overHttp = times(500, 10_000);
  const generated = times(10_000, 1_000_000);

  it(
    `${generated}: each is one of ours as it stands, or anonymous; nothing throws, no unsigned value reaches the store`,
    async () => {
      const store = probeStore(memoryStore());
      const sessions = createSessions({ secret, store });
      onTestFinished(() => sessions.close());
      const users = [await signIn(sessions, "alice"), await signIn(sessions, "bob")];
      let accepted = 0;
      const check = async (header: string): Promise<void> => {
        await new Client(sessions, header).request((session) => {
          const user = users.find(({ id }) => id === session.id);
          if (user === undefined) expect({ ...session }).toEqual({});
          else {
            accepted += 1;
            expect(session.user).toBe(user.name);
            expect(header).toContain(user.signed);
          }
          expect(user?.name).toBe(expectedUser(header, users));
        });
        expect(store.calls.filter(({ key }) => !users.some(({ id }) => id === key))).toEqual([]);
        store.forget();
        // The field's own parser keeps the first of a name.
        expect(readCookies(header, "sid")[0]).toBe(parseCookie(header, { decode: (value) => value }).sid);
        for (const value of readCookies(header, "sid")) {
          const verified = verifyCookie(value, [secret]);
          expect("secret" in verified).toBe(users.some((user) => isOf(value, user)));
        }
      };
      const property = fc.asyncProperty(
        headers(users, fc.string({ unit: "binary", minLength: 1, maxLength: 1 })),
        check,
      );
      await fc.assert(property, { numRuns: generated, seed });
      tally("T12", "generated headers", generated);
      tally("T12", "of them accepted as they stood", accepted);
      expect(accepted).toBeGreaterThan(generated / 10);
      expect(({} as { user?: string }).user).toBeUndefined();
    },
    times(600_000, 1_800_000),
  );

  it.each(frameworks.map((framework) => [framework.name, framework] as const))(
    "made by hand, 372 of them, with %s: always a 200, with the session that the header names or none",
    async (_, framework) => {
      const { users, ask } = await http(framework);
      const all = madeByHand(users);
      expect(new Set(all).size).toBeGreaterThanOrEqual(350);
      for (const header of all) {
        const { status, body } = await ask(header);
        expect([header, status, JSON.parse(body)]).toEqual([
          header,
          200,
          { user: expectedUser(header, users) ?? null },
        ]);
      }
      tally("T12", "made by hand, over HTTP", all.length);
    },
  );

  it.each(frameworks.map((framework) => [framework.name, framework] as const))(
    `${overHttp} over HTTP with %s: always a 200, with the session that the header names or none`,
    async (_, framework) => {
      const { users, ask } = await http(framework);
      // What Node's own client lets through in a header.
      const sendable = fc.integer({ min: 0x20, max: 0xff }).filter((code) => code !== 0x7f);
      const characters = sendable.map((code) => String.fromCharCode(code));
      const property = fc.asyncProperty(headers(users, characters), async (header) => {
        const { status, body, setCookies } = await ask(header);
        expect(status).toBe(200);
        // Sent again only for another's route, and always as this node writes it.
        for (const line of setCookies) expect(users.some(({ value }) => line.startsWith(`sid=${value}; `))).toBe(true);
        expect(JSON.parse(body)).toEqual({ user: expectedUser(header, users) ?? null });
      });
      await fc.assert(property, { numRuns: overHttp, seed });
      tally("T12", "over HTTP", overHttp);
    },
  );
});

/** An app with two users, and a way to ask it who a header is. */
async function http(framework: Framework): Promise<{
  users: User[];
  ask(cookie: string): Promise<Answer>;
}> {
  const sessions = createSessions({ secret, route: "n1" });
  const app = await framework.start(sessions, { "/": ({ session }) => ({ user: session.user ?? null }) });
  const agent = new Agent({ keepAlive: true });
  onTestFinished(async () => {
    agent.destroy();
    await app.close();
    await sessions.close();
  });
  const users = [await signIn(sessions, "alice"), await signIn(sessions, "bob")];
  return { users, ask: (cookie) => request(app.url, cookie, agent) };
}

interface Answer {
  status: number;
  body: string;
  setCookies: string[];
}

function request(url: string, cookie: string, agent: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { cookie }, agent }, (response) => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, body, setCookies: response.headers["set-cookie"] ?? [] }),
      );
    }).on("error", reject);
  });
}
