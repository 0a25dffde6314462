import { inspect } from "node:util";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createSessions, SessionError, type SessionOptions } from "../../src/index.ts";
import { resolveOptions } from "../../src/options.ts";

const secret = "a secret of at least thirty-two characters";

function messageOf(options: unknown): string {
  try {
    // Wrong on purpose: users of plain JavaScript write these.
    resolveOptions(options as SessionOptions);
  } catch (error) {
    if (error instanceof SessionError && error.code === "ERR_SESSION_OPTION") return error.message;
    throw error;
  }
  throw new Error("the options were accepted");
}

afterEach(() => {
  vi.unstubAllEnvs();
});

/** A store of the four verbs alone. */
const verbs = { read() {}, write() {}, touch() {}, remove() {}, now: () => 0 };

describe("a wrong option is refused with what was received and the cure", () => {
  it.each<[string, unknown, string[]]>([
    ["no options", undefined, ["options", "undefined", "SESSION_SECRET"]],
    ["options that are a string", "x".repeat(40), ["options", "pass an object"]],
    ["no secret", {}, ["secret", "undefined", "32 characters", "SESSION_SECRET"]],
    ["an empty list of secrets", { secret: [] }, ["secret", "at least one key"]],
    ["a short secret", { secret: "hunter2" }, ["secret", "a string of 7 characters", "32"]],
    ["a short secret in a list", { secret: [secret, "short"] }, ["secret[1]", "5 characters"]],
    ["a secret that is no string", { secret: 42 }, ["secret", "42"]],
    ["an unknown option", { secret, tttl: 1 }, ["tttl", "unknown", "ttl"]],
    ["a renewalTimeout that is no duration", { secret, renewalTimeout: "often" }, ["renewalTimeout", '"often"']],
    ["a negative renewalGrace", { secret, renewalGrace: -1 }, ["renewalGrace", "-1"]],
    ["a principal that is no function", { secret, principal: "userId" }, ["principal", '"userId"', "function"]],
    ["describe that is no function", { secret, describe: true }, ["describe", "true", "function"]],
    ["maxSessions of zero", { secret, maxSessions: 0 }, ["maxSessions", "0", "whole number"]],
    ["maxSessions that is no number", { secret, maxSessions: { most: "3" } }, ["maxSessions", '"3"', "whole number"]],
    ["an unknown key of maxSessions", { secret, maxSessions: { count: 3 } }, ["maxSessions.count", "most, policy"]],
    ["an unknown policy", { secret, maxSessions: { most: 3, policy: "newest" } }, ["policy", '"newest"', '"reject"']],
    [
      "a principal with a store that can't list",
      { secret, store: verbs, principal: () => 1 },
      ["principals", "redisStore"],
    ],
    [
      "maxSessions with a store that can't list",
      { secret, store: verbs, maxSessions: 3 },
      ["maxSessions", "principals"],
    ],
    ["an unknown way to resolve", { secret, onConflict: "theirs" }, ["onConflict", '"theirs"', '"reject"']],
    ["a maxRecordSize that is no size", { secret, maxRecordSize: "1mb" }, ["maxRecordSize", '"1mb"', "bytes"]],
    ["a ttl that is no duration", { secret, ttl: "soon" }, ["ttl", '"soon"', '"30m"']],
    ["a negative ttl", { secret, ttl: -1 }, ["ttl", "-1"]],
    ["a ttl of zero", { secret, ttl: 0 }, ["ttl", "0"]],
    ["a ttl that is NaN", { secret, ttl: Number.NaN }, ["ttl", "NaN"]],
    ["an infinite ttl", { secret, ttl: Number.POSITIVE_INFINITY }, ["ttl", "Infinity"]],
    ["a ttl of nine quadrillion", { secret, ttl: 9e15 }, ["ttl", "9000000000000000"]],
    ["a ttl above absoluteTimeout", { secret, ttl: "60d" }, ["ttl", '"60d"', "absoluteTimeout"]],
    ["an absoluteTimeout that is no duration", { secret, absoluteTimeout: {} }, ["absoluteTimeout", "an object"]],
    ["rolling that is no boolean", { secret, rolling: "yes" }, ["rolling", '"yes"', "true or false"]],
    ["a touchInterval as long as ttl", { secret, ttl: "1m", touchInterval: "1m" }, ["touchInterval", "less than ttl"]],
    ["a negative touchInterval", { secret, touchInterval: -5 }, ["touchInterval", "-5"]],
    ["an unknown way to load", { secret, load: "later" }, ["load", '"later"', '"eager" or "lazy"']],
    ["skip that is no function", { secret, skip: "/health" }, ["skip", '"/health"', "function"]],
    ["an unknown commit", { secret, commit: "never" }, ["commit", '"never"', '"before-response"']],
    ["an unknown onStoreError", { secret, onStoreError: "ignore" }, ["onStoreError", '"ignore"', '"anonymous"']],
    ["a storeTimeout of zero", { secret, storeTimeout: 0 }, ["storeTimeout", "0"]],
    ["a store without verbs", { secret, store: { read() {} } }, ["store", "write, touch, remove, now", "redisStore"]],
    ["a store that is null", { secret, store: null }, ["store", "null"]],
    ["a codec without decode", { secret, codec: { encode() {} } }, ["codec", "decode"]],
    ["transforms that are no array", { secret, transforms: {} }, ["transforms", "array"]],
    ["a transform without undo", { secret, transforms: [{ apply() {} }] }, ["transforms[0]", "undo"]],
    ["describe that is no function", { secret, describe: "ip" }, ["describe", '"ip"', "function"]],
    ["onAnomaly that is no function", { secret, describe: () => ({}), onAnomaly: "end" }, ["onAnomaly", '"end"']],
    ["onAnomaly without describe", { secret, onAnomaly: () => "end" }, ["onAnomaly", "describe"]],
    ["suspicion that is a number", { secret, suspicion: 20 }, ["suspicion", "20", "after"]],
    ["an unknown key of suspicion", { secret, suspicion: { above: 20 } }, ["suspicion.above", "after, within"]],
    ["suspicion after nothing", { secret, suspicion: { after: 0 } }, ["suspicion.after", "0"]],
    ["suspicion within no time", { secret, suspicion: { within: "soon" } }, ["suspicion.within", '"soon"']],
    ["clearSiteData that is a string", { secret, clearSiteData: "cache" }, ["clearSiteData", '"cache"', "list"]],
    ["clearSiteData of nothing", { secret, clearSiteData: [] }, ["clearSiteData", "an array"]],
    ["clearSiteData of a header's own text", { secret, clearSiteData: ['"cache"'] }, ["clearSiteData", '"storage"']],
    ["a schema that is none", { secret, schema: {} }, ["schema", "an object", "Standard Schema"]],
    ["a version that is no number", { secret, version: "2" }, ["version", '"2"', "whole number"]],
    ["migrate without a version", { secret, migrate: () => ({}) }, ["version", "migrate"]],
    ["migrate that is no function", { secret, version: 1, migrate: {} }, ["migrate", "function"]],
    ["genId that is no function", { secret, genId: "uuid" }, ["genId", '"uuid"', "function"]],
    ["a route with a dot", { secret, route: "eu.n1" }, ["route", '"eu.n1"', '"n1"']],
    ["an empty route", { secret, route: "" }, ["route", '""']],
    ["a route longer than 32 characters", { secret, route: "n".repeat(33) }, ["route", "32"]],
    ["a route that ends the cookie", { secret, route: "n1; Domain=evil" }, ["route"]],
    ["a route that is no string", { secret, route: 1 }, ["route", "1", "such as"]],
    ["a cookie that is a string", { secret, cookie: "sid" }, ["cookie", '"sid"', "pass an object"]],
    ["an unknown cookie option", { secret, cookie: { samesite: "lax" } }, ["cookie.samesite", "unknown", "sameSite"]],
    ["a cookie name with a space", { secret, cookie: { name: "my sid" } }, ["cookie.name", '"my sid"', "RFC 6265"]],
    ["an empty cookie name", { secret, cookie: { name: "" } }, ["cookie.name", '""']],
    ["httpOnly that is no boolean", { secret, cookie: { httpOnly: 1 } }, ["cookie.httpOnly", "1"]],
    ["an unknown sameSite", { secret, cookie: { sameSite: "loose" } }, ["cookie.sameSite", '"loose"', '"lax"']],
    ["an unknown secure", { secret, cookie: { secure: "yes" } }, ["cookie.secure", '"yes"', '"auto"']],
    ["a relative path", { secret, cookie: { path: "app" } }, ["cookie.path", '"app"']],
    ["attributes smuggled into path", { secret, cookie: { path: "/; Domain=evil" } }, ["cookie.path"]],
    ["attributes smuggled into domain", { secret, cookie: { domain: "a; Secure" } }, ["cookie.domain"]],
    ["an empty domain", { secret, cookie: { domain: "" } }, ["cookie.domain"]],
    ["a cookie.maxAge of zero", { secret, cookie: { maxAge: 0 } }, ["cookie.maxAge", "0"]],
    ["a cookie.maxAge that is no duration", { secret, cookie: { maxAge: "ever" } }, ["cookie.maxAge", '"ever"']],
    ["partitioned that is no boolean", { secret, cookie: { partitioned: "x" } }, ["cookie.partitioned"]],
    ["an unknown priority", { secret, cookie: { priority: "top" } }, ["cookie.priority", '"top"', '"high"']],
    [
      "sameSite none without secure",
      { secret, cookie: { sameSite: "none", secure: false } },
      ["cookie.secure", 'sameSite: "none"'],
    ],
    [
      "partitioned without secure",
      { secret, cookie: { partitioned: true, secure: false } },
      ["cookie.secure", "partitioned"],
    ],
    [
      "__Host- with a domain",
      { secret, cookie: { name: "__Host-x", secure: true, domain: "example.org" } },
      ["cookie.name", "__Host-", "domain"],
    ],
    [
      "__Host- with a path",
      { secret, cookie: { name: "__Host-x", secure: true, path: "/a" } },
      ["__Host-", 'path "/"'],
    ],
    ["__Host- without secure", { secret, cookie: { name: "__Host-x", secure: false } }, ["cookie.secure", "__Host-x"]],
    ["__Secure- without secure", { secret, cookie: { name: "__Secure-x", secure: "auto" } }, ["cookie.secure"]],
  ])("%s", (_name, options, parts) => {
    const message = messageOf(options);
    for (const part of parts) expect(message).toContain(part);
  });

  it("never shows a secret", () => {
    expect(messageOf({ secret: "hunter2" })).not.toContain("hunter2");
    expect(messageOf({ secret: [secret, "hunter2"] })).not.toContain("hunter2");
  });

  it("is refused by createSessions as well", () => {
    expect(() => createSessions({ secret: "short" })).toThrow(SessionError);
  });
});

describe("resolved options", () => {
  it("have the documented defaults, in milliseconds", () => {
    const options = resolveOptions({ secret });
    expect(options).toMatchObject({
      ttlMs: 86_400_000,
      rolling: true,
      touchIntervalMs: 60_000,
      absoluteTimeoutMs: 30 * 86_400_000,
      load: "eager",
      storeTimeoutMs: 1000,
      cookie: { name: "sid", httpOnly: true, sameSite: "lax", path: "/", secure: "auto", maxAge: null },
    });
  });

  it("take a twentieth of ttl as touchInterval where that is less than a minute", () => {
    expect(resolveOptions({ secret, ttl: 10_000 }).touchIntervalMs).toBe(500);
    expect(resolveOptions({ secret, touchInterval: 0 }).touchIntervalMs).toBe(0);
  });

  it("accept null as no absolute timeout", () => {
    expect(resolveOptions({ secret, ttl: "90d", absoluteTimeout: null }).absoluteTimeoutMs).toBeNull();
  });

  it("name the cookie __Host-sid exactly when it is secure, for the host alone and for every path", () => {
    const name = (cookie: SessionOptions["cookie"]) => resolveOptions({ secret, cookie: cookie ?? {} }).cookie.name;
    expect(name({ secure: true })).toBe("__Host-sid");
    expect(name({ secure: true, domain: "example.org" })).toBe("sid");
    expect(name({ secure: true, path: "/app" })).toBe("sid");
    expect(name({ secure: "auto" })).toBe("sid");
    expect(name({ secure: true, name: "id" })).toBe("id");
  });

  it("have a route of 1 to 32 characters, or none", () => {
    for (const route of ["n1", "eu-west_2", "N".repeat(32), undefined]) {
      expect(resolveOptions({ secret, route }).route).toBe(route);
    }
  });

  it("are secure in production", () => {
    vi.stubEnv("NODE_ENV", "production");
    expect(resolveOptions({ secret }).cookie).toMatchObject({ secure: true, name: "__Host-sid" });
  });

  it("are a frozen copy: the user's objects are not written to", () => {
    const given: SessionOptions = Object.freeze({ secret: Object.freeze([secret]), cookie: Object.freeze({}) });
    const options = resolveOptions(given);
    expect(Object.isFrozen(options)).toBe(true);
    expect(Object.isFrozen(options.cookie)).toBe(true);
    expect(Object.isFrozen(options.secrets)).toBe(true);
    expect(Object.keys(given)).toEqual(["secret", "cookie"]);
  });

  it("are printed without the signing keys, and so is the engine that has them", () => {
    const sessions = createSessions({ secret });
    expect(inspect(sessions, { depth: 10 })).not.toContain(secret);
    expect(JSON.stringify(sessions.options)).not.toContain(secret);
    expect(sessions.options.secrets).toEqual([secret]);
  });
});
