// @ts-check
/**
 * The measuring client of outage-apart.test.ts, a process of its own: what it measures is not what the app, Redis or the
 * test were busy with. Signs a user in at each URL of its arguments, then asks at a fixed rate, whatever becomes of the
 * requests, until its input ends; then prints what it saw as one JSON line.
 */
import { once } from "node:events";
import { Agent, get } from "node:http";
import { monitorEventLoopDelay } from "node:perf_hooks";

/** One request to each app so often. */
const everyMs = 25;

/**
 * @typedef {{ status: number, text: string, setCookies: string[] }} Answer
 * @typedef {{ app: number, path: string, at: number, ms: number, status: number, user?: string | null, id?: string, hasCookie: boolean }} Entry
 *   `at`: when it was answered, epoch ms; `ms`: the wait; `status` 0: no answer at all
 */

const lateness = monitorEventLoopDelay({ resolution: 5 });
lateness.enable();
const urls = process.argv.slice(2);
const agent = new Agent({ keepAlive: true });

/**
 * @param {string} url
 * @param {string} [cookie]
 * @returns {Promise<Answer>}
 */
function ask(url, cookie) {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent, headers: cookie === undefined ? {} : { cookie } }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part) => {
        text += part;
      });
      response.on("error", reject);
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, text, setCookies: response.headers["set-cookie"] ?? [] });
      });
    });
    request.on("error", reject);
  });
}

const users = await Promise.all(
  urls.map(async (url, app) => {
    const { setCookies } = await ask(`${url}/set?user=ada${app}`);
    const cookie = String(setCookies[0]).split(";")[0] ?? "";
    return { url, cookie, id: JSON.parse((await ask(`${url}/read`, cookie)).text).id };
  }),
);

/** @type {Entry[]} */
const entries = [];
/** @type {string[][]} */
const acknowledged = urls.map(() => []);
/** @type {Set<Promise<void>>} */
const open = new Set();
let round = 0;

/**
 * @param {number} app
 * @param {string} path
 */
async function measure(app, path) {
  const user = users[app];
  if (user === undefined) return;
  const start = performance.now();
  const answer = await ask(user.url + path, user.cookie).catch(() => ({ status: 0, text: "", setCookies: [] }));
  const ms = performance.now() - start;
  const { user: who, id } = answer.status === 200 && path !== "/public" ? JSON.parse(answer.text) : {};
  const hasCookie = answer.setCookies.length > 0;
  entries.push({ app, path, at: Date.now(), ms, status: answer.status, user: who, id, hasCookie });
  if (answer.status === 200 && path.startsWith("/set"))
    acknowledged[app]?.push(path.slice("/set?".length, -"=1".length));
}

function all() {
  const paths = ["/read", `/set?k${round}=1`, "/read", "/public"];
  const path = paths[round % paths.length] ?? "/read";
  round += 1;
  for (const app of urls.keys()) {
    const one = measure(app, path);
    open.add(one);
    void one.finally(() => open.delete(one));
  }
}

lateness.reset();
const timer = setInterval(all, everyMs);
console.log("measuring");
process.stdin.resume();
await once(process.stdin, "end");
clearInterval(timer);
await Promise.all(open);
const kept = await Promise.all(
  users.map(async ({ url, cookie }) => JSON.parse((await ask(`${url}/read`, cookie)).text)),
);
const ids = users.map(({ id }) => id);
console.log(JSON.stringify({ entries, acknowledged, ids, kept, lateMs: lateness.max / 1e6 }));
agent.destroy();
