/**
 * What a request does with the whole of its session, counted: a large one costs what it is decoded, encoded and copied.
 * Times are measured by `test/bench/large.mjs`.
 */
import { describe, expect, it } from "vitest";
import { type Codec, jsonCodec } from "../../src/codec.ts";
import { createSessions, memoryStore } from "../../src/index.ts";
import { signIn } from "../../src/testing/sign-in.ts";
import { fakeExchange } from "../support/exchange.ts";

const sizes = [1, 10, 100];

/** An engine on one session of about so many KB, whose use of the payload is counted. */
async function setUp(kilobytes: number) {
  const counts = { encoded: 0, decoded: 0, opened: 0, packed: 0 };
  const json = jsonCodec();
  const codec: Codec = {
    encode(data) {
      counts.encoded++;
      return json.encode(data);
    },
    decode(text) {
      counts.decoded++;
      return json.decode(text);
    },
  };
  const store = memoryStore();
  const sessions = createSessions({
    secret: "a secret that is long enough for tests",
    store,
    codec,
    transforms: [
      {
        apply(bytes) {
          counts.packed++;
          return bytes;
        },
        undo(bytes) {
          counts.opened++;
          return bytes;
        },
      },
    ],
  });
  const items = Array.from({ length: kilobytes * 8 }, (_, id) => ({ id, text: "x".repeat(100) }));
  const { cookie } = await signIn(sessions, { user: "ada", items });
  const request = async (handler?: (session: Record<string, unknown>) => void): Promise<typeof counts> => {
    Object.assign(counts, { encoded: 0, decoded: 0, opened: 0, packed: 0 });
    const visit = sessions.visit(fakeExchange(cookie));
    await visit.begin();
    if (handler !== undefined) {
      const { session } = visit;
      if (!session) throw new Error("there must be a session");
      handler(session as typeof session & Record<string, unknown>); // its data are its other properties
    }
    await visit.commit();
    // What changed after the response had left would be saved here.
    await visit.finish();
    return { ...counts };
  };
  return { request };
}

describe.each(sizes)("a session of %i KB", (kilobytes) => {
  it("is neither opened, decoded nor encoded by a request that leaves it alone", async () => {
    const { request } = await setUp(kilobytes);
    expect(await request()).toEqual({ encoded: 0, decoded: 0, opened: 0, packed: 0 });
  });

  it("is decoded once to be read, and not encoded to tell that it did not change", async () => {
    const { request } = await setUp(kilobytes);
    expect(await request((session) => session.user)).toEqual({ encoded: 0, decoded: 1, opened: 1, packed: 0 });
  });

  it("is encoded once where an equal object took another's place: that is no change", async () => {
    const { request } = await setUp(kilobytes);
    const replace = (session: Record<string, unknown>): void => {
      // Equal to what it was, but another object: only its text tells.
      session.items = structuredClone(session.items);
    };
    expect(await request(replace)).toEqual({ encoded: 1, decoded: 1, opened: 1, packed: 0 });
  });

  it("is decoded once and encoded once to be changed: what is saved is what told the change", async () => {
    const { request } = await setUp(kilobytes);
    const change = (session: Record<string, unknown>): void => {
      session.user = "grace";
    };
    expect(await request(change)).toEqual({ encoded: 1, decoded: 1, opened: 1, packed: 1 });
  });
});
