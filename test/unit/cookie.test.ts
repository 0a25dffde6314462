import { sign } from "cookie-signature";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clearCookie, readCookies, setCookie, signCookie, verifyCookie, withSetCookie } from "../../src/cookie.ts";

const keys = ["newest key, thirty-two characters or more", "older key, thirty-two characters or more !"];
const secret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const attributes = {
  path: "/",
  domain: undefined,
  secure: true,
  httpOnly: true,
  sameSite: "lax",
  partitioned: false,
  priority: undefined,
} as const;

describe("the signature", () => {
  it("is cookie-signature's, so that others can check it", () => {
    expect(signCookie(secret, keys)).toBe(sign(secret, keys[0] ?? ""));
  });

  it("is made with the first key and accepted with any (CVE-2025-47278)", () => {
    expect(verifyCookie(signCookie(secret, keys), keys)).toEqual({ secret, isOutdated: false });
    expect(verifyCookie(sign(secret, keys[1] ?? ""), keys)).toEqual({ secret, isOutdated: true });
    expect(verifyCookie(sign(secret, "a key that nobody has, thirty-two chars"), keys)).toEqual({
      reason: "bad-signature",
    });
  });

  it("holds against every change of a single character", () => {
    const good = signCookie(secret, keys);
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (index, character) => {
        const changed = good.slice(0, index) + character + good.slice(index + 1);
        expect("secret" in verifyCookie(changed, keys)).toBe(changed === good);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("the route behind the signature", () => {
  const signed = signCookie(secret, keys);
  const hostile = [
    "",
    ".",
    "n2",
    "n1.",
    ".n1",
    "n1.n1",
    "N1",
    "n1 ",
    "\r\nset-cookie: a=b",
    "\u0000",
    "é",
    "%6E1",
    '"n1"',
  ];

  it("is this node's, and what the browser brings says nothing but whether the cookie is due again", () => {
    expect(signCookie(secret, keys, "n1")).toBe(`${signed}.n1`);
    expect(verifyCookie(`${signed}.n1`, keys, "n1")).toEqual({ secret, isOutdated: false });
    expect(verifyCookie(`${signed}.n1`, keys, "n2")).toEqual({ secret, isOutdated: true });
    expect(verifyCookie(signed, keys, "n1")).toEqual({ secret, isOutdated: true });
  });

  it("is of no concern to a node without one", () => {
    for (const route of [...hostile, "n1", "n".repeat(10_000)]) {
      expect(verifyCookie(`${signed}.${route}`, keys)).toEqual({ secret, isOutdated: false });
    }
  });

  it("that is unknown, overlong or hostile leaves the session as it is", () => {
    for (const route of [...hostile, "n".repeat(10_000)]) {
      expect(verifyCookie(`${signed}.${route}`, keys, "n1")).toEqual({ secret, isOutdated: true });
    }
  });

  it("makes no unsigned value a good one", () => {
    const forged = `${secret}.${"A".repeat(43)}`;
    for (const route of [...hostile, "n1"]) {
      expect(verifyCookie(`${forged}.${route}`, keys, "n1")).toEqual({ reason: "bad-signature" });
    }
    expect(verifyCookie(`${secret}.n1`, keys, "n1")).toEqual({ reason: "malformed" });
    expect(verifyCookie(`${signed}n1`, keys, "n1")).toEqual({ reason: "malformed" });
  });
});

describe("reading", () => {
  it("gives all values of the name in order, four at most, and of no other name", () => {
    expect(readCookies("a=1; sid=x; sidx=y; xsid=z; sid=w", "sid")).toEqual(["x", "w"]);
    expect(readCookies("sid=1;sid=2; sid=3;  sid=4;sid=5", "sid")).toEqual(["1", "2", "3", "4"]);
    expect(readCookies(undefined, "sid")).toEqual([]);
    expect(readCookies("", "sid")).toEqual([]);
    expect(readCookies("sid", "sid")).toEqual([]);
  });

  it("leaves values as they came: nothing is decoded", () => {
    expect(readCookies("sid=%41+%2F", "sid")).toEqual(["%41+%2F"]);
  });
});

describe("writing", () => {
  it("gives a browser-session cookie, or a lifetime in both Max-Age and Expires", () => {
    expect(setCookie("sid", "v", attributes, null)).toBe("sid=v; Path=/; HttpOnly; Secure; SameSite=Lax");
    const line = setCookie("sid", "v", attributes, 3_600_500);
    expect(line).toContain("; Max-Age=3600; ");
    const expires = Date.parse(/Expires=([^;]+)/.exec(line)?.[1] ?? "");
    expect(Math.abs(expires - Date.now() - 3_600_500)).toBeLessThan(2000);
  });

  it("keeps name and value far below 4096 bytes (ASVS 3.3.5), unencoded", () => {
    const line = setCookie("__Host-sid", signCookie("A".repeat(128), keys), attributes, null);
    expect(line.split(";")[0]?.length).toBeLessThan(300);
    expect(line).not.toContain("%");
  });

  it("clears with the same path, domain and partition", () => {
    expect(clearCookie("sid", { ...attributes, domain: "example.org", path: "/a", partitioned: true })).toBe(
      "sid=; Max-Age=0; Domain=example.org; Path=/a; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; Partitioned; SameSite=Lax",
    );
  });

  it("replaces its own earlier line and leaves the others", () => {
    expect(withSetCookie(undefined, "sid", "sid=2")).toEqual(["sid=2"]);
    expect(withSetCookie("a=1", "sid", "sid=2")).toEqual(["a=1", "sid=2"]);
    expect(withSetCookie(["sid=1", "sidx=1"], "sid", "sid=2")).toEqual(["sidx=1", "sid=2"]);
  });
});
