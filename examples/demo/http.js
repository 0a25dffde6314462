// @ts-check
/**
 * What the three frameworks do alike over HTTP: read a small JSON body, and turn an error into a JSON answer. Each
 * has a body parser of its own; the demo uses this one so that all three give the same answer to the same mistake.
 *
 * It is half of the demo's defence against cross-site requests, too: what takes a body takes `application/json` only,
 * which no form and no other origin can send without asking first (CORS), and the cookie is `SameSite=Lax`.
 */

const maxBytes = 16 * 1024;
const maxLength = 100;

/** A request that is answered with `status` and its message, which the client may read. */
export class Refusal extends Error {
  constructor(/** @type {number} */ status, /** @type {string} */ message) {
    super(message);
    this.status = status;
  }
}

/** What takes a body takes JSON only. */
export const wrongType = new Refusal(415, "Send the body as content-type application/json.");

/** What is answered where nothing is. */
export const notFound = new Refusal(404, "There is nothing here.");

/**
 * The text under `field` in the request's JSON body, without blanks around it.
 * @param {import("node:http").IncomingMessage} request
 * @param {string} field
 * @returns {Promise<string>}
 */
export async function readText(request, field) {
  const body = await readJson(request);
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new Refusal(400, `Send a JSON object such as {"${field}":"…"}.`);
  }
  const value = Object.hasOwn(body, field) ? body[field] : undefined;
  const text = typeof value === "string" ? value.trim() : "";
  if (text === "" || text.length > maxLength) {
    throw new Refusal(400, `"${field}" must be a text of 1 to ${maxLength} characters.`);
  }
  return text;
}

/** @param {import("node:http").IncomingMessage} request */
async function readJson(request) {
  const type = request.headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase();
  if (type !== "application/json") throw wrongType;
  if (request.headers["content-encoding"] !== undefined) throw new Refusal(415, "Send the body without compression.");
  const bytes = await readBytes(request);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new Refusal(400, "The body is not valid JSON.");
  }
}

/**
 * Reads to the end even what is too large, without keeping it: a client that is still sending could not read the 413.
 * @param {import("node:http").IncomingMessage} request
 */
async function readBytes(request) {
  /** @type {Buffer[]} */
  const chunks = [];
  let size = 0;
  try {
    for await (const chunk of request) {
      size += chunk.length;
      if (size <= maxBytes) chunks.push(chunk);
    }
  } catch {
    throw new Refusal(400, "The body was cut off.");
  }
  if (size > maxBytes) throw new Refusal(413, `The body is larger than ${maxBytes / 1024} KiB.`);
  return Buffer.concat(chunks);
}

/**
 * The answer to an error of a route, of a framework or of holdfast. Only what the client can mend is told in full.
 * @param {unknown} error
 * @returns {{ status: number, headers: Record<string, string>, body: { error: string } }}
 */
export function answerTo(error) {
  const { status, headers, message } = Object(error);
  if (status === 503) {
    return { status, headers: headers ?? {}, body: { error: "The session store does not answer. Try again soon." } };
  }
  if (Number.isInteger(status) && status >= 400 && status < 500) {
    return { status, headers: {}, body: { error: String(message) } };
  }
  console.error(error);
  return { status: 500, headers: {}, body: { error: "Something went wrong here." } };
}
