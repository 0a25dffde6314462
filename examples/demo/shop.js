// @ts-check
/**
 * The demo's logic: what each route does to a session, and what it answers. It knows no framework: `express.js`,
 * `koa.js` and `fastify.js` each mount `routes` in their own way, which is all that differs between them.
 */
import { Refusal, readText } from "./http.js";

/**
 * The session as this shop uses it: what all examples keep (`session-data.d.ts`), and a cart.
 * @typedef {import("holdfast").UserSession & { cart?: string[] }} ShopSession
 */

/**
 * One request, as a route sees it.
 * @typedef {object} Call
 * @property {string} framework who answers
 * @property {ShopSession} session
 * @property {import("node:http").IncomingMessage} request its body has not been read
 */

/** A session is no database: what a visitor may put in it has a bound. */
const maxItems = 20;

/** What everybody may see of a session. Reading it stores nothing: a visitor who only looks gets no cookie. */
function show(/** @type {Call} */ { framework, session }) {
  const now = Date.now();
  return {
    framework,
    id: session.id,
    isNew: session.isNew,
    user: session.user ?? null,
    views: session.views ?? 0,
    cart: session.cart ?? [],
    // The time that is left, and not the date: a visitor's clock may be wrong.
    idleLeftMs: session.expiresAt - now,
    absoluteLeftMs: Number(session.absoluteExpiresAt) - now, // the demo has set one
  };
}

/** `update` and not `session.views += 1`: of parallel requests, on any of the three frameworks, each one counts. */
async function countView(/** @type {Call} */ { framework, session }) {
  const views = await session.update((data) => {
    data.views = (data.views ?? 0) + 1;
    return data.views;
  });
  return { framework, views };
}

async function addToCart(/** @type {Call} */ call) {
  const item = await readText(call.request, "item");
  const fits = await call.session.update((data) => {
    const cart = /** @type {string[]} */ (data["cart"] ?? []);
    if (cart.length >= maxItems) return false;
    data["cart"] = [...cart, item];
    return true;
  });
  if (!fits) throw new Refusal(409, `The cart is full: it holds ${maxItems} items.`);
  return show(call);
}

function emptyCart(/** @type {Call} */ call) {
  delete call.session.cart;
  return show(call);
}

/** `renew` first: whoever knew the id before the login must not know it afterwards (session fixation). */
async function logIn(/** @type {Call} */ call) {
  const user = await readText(call.request, "user");
  await call.session.renew();
  call.session.user = user;
  return show(call);
}

async function logOut(/** @type {Call} */ { framework, session }) {
  await session.destroy();
  return { framework, user: null };
}

/** @type {{ method: "get" | "post" | "delete", path: string, answer: (call: Call) => object | Promise<object> }[]} */
export const routes = [
  { method: "get", path: "/api/session", answer: show },
  { method: "post", path: "/api/views", answer: countView },
  { method: "post", path: "/api/cart", answer: addToCart },
  { method: "delete", path: "/api/cart", answer: emptyCart },
  { method: "post", path: "/api/login", answer: logIn },
  { method: "post", path: "/api/logout", answer: logOut },
];
