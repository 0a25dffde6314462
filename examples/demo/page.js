// @ts-check
/**
 * The demo's page: `page.html` with the name of the framework that answers and the addresses of all three filled in,
 * and the headers that go with every answer. Its style and its script are inline, and allowed by their hashes.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const html = readFileSync(new URL("page.html", import.meta.url), "utf8");

/** @param {"style" | "script"} tag */
function hashOf(tag) {
  const text = html.match(new RegExp(`<${tag}>(.*?)</${tag}>`, "s"))?.[1] ?? "";
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

/** For every answer: nothing from elsewhere, nothing inline but what the page came with, no frame around it. */
export const securityHeaders = {
  "content-security-policy": [
    "default-src 'none'",
    `style-src ${hashOf("style")}`,
    `script-src ${hashOf("script")}`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
};

/** The frameworks by the name that the API answers with. */
export const titles = { express: "Express", koa: "Koa", fastify: "Fastify" };

/** @typedef {keyof typeof titles} Framework */

/**
 * What the page shows beside the session.
 * @typedef {object} Place
 * @property {Record<Framework, number>} ports filled in once the servers listen
 * @property {string} store in words: where the sessions are kept
 * @property {number} idleMs
 * @property {number | null} absoluteMs
 */

/**
 * @param {Framework} framework
 * @param {Place} place
 */
export function renderPage(framework, { ports, store, idleMs, absoluteMs }) {
  /** @type {Record<string, string | number | null>} */
  const values = { framework, title: titles[framework], store, idleMs, absoluteMs };
  for (const [name, port] of Object.entries(ports)) values[`${name}Port`] = port;
  return html.replace(/{{(\w+)}}/g, (_, name) => String(values[name]));
}
