// The cluster demo's page: sends requests through the load balancer, and shows what the panel tells of the cluster.

const $ = (id) => document.getElementById(id);
const shown = { requests: 14, events: 8 };
const autoMs = 400;

const frameworks = { express: "Express", koa: "Koa", fastify: "Fastify" };
const states = { up: ["up", "good"], hung: ["hung", "warn"], down: ["down", "bad"] };
const roles = {
  master: ["master", "good"],
  replica: ["replica", ""],
  rejoining: ["rejoining", "warn"],
  away: ["away", "bad"],
};
const balancerStates = { UP: "good", DOWN: "bad", NOLB: "warn", DRAIN: "warn" };

let view;
let timer;
const figures = { answered: 0, failed: 0, slowest: 0 };

/** An element with classes and text, or with others in it. */
function element(tag, classes = "", content = "") {
  const made = document.createElement(tag);
  made.className = classes;
  made.append(...[content].flat());
  return made;
}

function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

/* Requests */

/** One request to the app, by the way that was chosen. */
async function call(method, path) {
  const mode = document.querySelector("input[name=mode]:checked").value;
  const started = performance.now();
  try {
    const response = await fetch(`/${mode}${path}`, { method });
    const answer = response.ok ? await response.json() : undefined;
    if (answer === undefined) throw new Error(`${response.status}: not now. Ask again.`);
    figures.answered += 1;
    showAnswer(answer);
    showAlert("");
    return answer;
  } catch (error) {
    figures.failed += 1;
    showAlert(error.message);
    return undefined;
  } finally {
    figures.slowest = Math.max(figures.slowest, Math.round(performance.now() - started));
    setText($("answered"), figures.answered);
    setText($("failed"), figures.failed);
    setText($("slowest"), `${figures.slowest} ms`);
  }
}

function showAnswer({ node, framework, data }) {
  setText($("count"), data.count ?? 0);
  $("by").dataset.name = node;
  setText($("by"), `${node} · ${frameworks[framework] ?? framework}`);
  setText($("user"), data.user ?? "nobody");
  setText($("login"), data.user === undefined ? "Log in as Ada" : "Log out");
  const card = $("nodes").querySelector(`[data-name="${node}"]`);
  card?.classList.remove("served");
  void card?.offsetWidth; // so that the animation begins again
  card?.classList.add("served");
}

function showAlert(text) {
  $("alert").hidden = text === "";
  setText($("alert"), text);
}

const visit = () => call("POST", "/count");

/** One after the other, so that a slow answer is seen and no queue grows. */
async function keepVisiting() {
  await visit();
  if (timer !== undefined) timer = setTimeout(keepVisiting, autoMs);
}

$("visit").addEventListener("click", visit);
$("auto").addEventListener("click", () => {
  const isOn = timer === undefined;
  clearTimeout(timer);
  timer = isOn ? setTimeout(keepVisiting, 0) : undefined;
  $("auto").setAttribute("aria-pressed", String(isOn));
});
$("login").addEventListener("click", async () => {
  await call("POST", $("user").textContent === "nobody" ? "/login?user=Ada" : "/logout");
  await call("GET", "/");
});

/* Buttons that harm and heal */

async function order(action, name) {
  const response = await fetch(`/panel/${action}?name=${name}`, { method: "POST", headers: { "x-demo": "1" } });
  if (!response.ok) showAlert(await response.text());
}

function orderButton(action, name, label, classes) {
  const made = element("button", `small ${classes}`, label);
  made.type = "button";
  made.dataset.action = action;
  made.setAttribute("aria-label", `${label} ${name}`);
  made.addEventListener("click", () => {
    made.disabled = true;
    order(action, name);
  });
  return made;
}

$("kill-master").addEventListener("click", () => order("kill", "master"));

/* What the panel tells */

function showMember(list, member, { title, badge, detail, actions }) {
  let card = list.querySelector(`[data-name="${member.name}"]`);
  if (card === null) {
    card = $("member").content.firstElementChild.cloneNode(true);
    card.dataset.name = member.name;
    list.append(card);
  }
  card.classList.toggle("away", member.state !== "up");
  setText(card.querySelector(".name"), title);
  const [text, tone] = badge;
  setText(card.querySelector(".badge"), text);
  card.querySelector(".badge").className = `badge ${tone}`;
  setText(card.querySelector(".detail"), detail);
  // The buttons change with the state only: one that is being pressed must not go away.
  if (card.dataset.state === member.state) return;
  const hadFocus = card.contains(document.activeElement);
  card.dataset.state = member.state;
  card
    .querySelector(".actions")
    .replaceChildren(...actions.map((each) => orderButton(each.action, member.name, each.label, each.classes)));
  if (hadFocus) card.querySelector("button")?.focus();
}

const kill = { action: "kill", label: "Kill", classes: "danger" };
const revive = { action: "revive", label: "Revive", classes: "quiet" };
const hang = { action: "hang", label: "Hang", classes: "quiet" };
const drain = { action: "drain", label: "Drain", classes: "quiet" };
const wake = { ...revive, label: "Wake" };
const actionsOf = (state, other) => (state === "up" ? [other, kill] : state === "hung" ? [wake, kill] : [revive]);

function show(next) {
  tellChanges(view, next);
  view = next;
  for (const node of next.nodes) {
    showMember($("nodes"), node, {
      title: `${node.name} · ${frameworks[node.framework]}`,
      badge: states[node.state],
      detail: `port ${node.port}`,
      actions: actionsOf(node.state, drain),
    });
  }
  for (const server of next.redis) {
    const isUp = server.state === "up";
    showMember($("redis"), server, {
      title: server.name,
      badge: isUp ? (roles[server.role] ?? [server.role, ""]) : states[server.state],
      detail: `port ${server.port}${server.name === next.serving && isUp ? ", serves the sessions" : ""}`,
      actions: actionsOf(server.state, hang),
    });
  }
  setText($("sentinels"), next.sentinels.filter(({ state }) => state === "up").length);
  $("kill-master").disabled = next.master === null;
  const through = next.serving;
  $("through").dataset.name = through ?? "";
  setText($("through"), through === null ? "no Redis yet" : `Redis ${through}`);
  $("balancer").replaceChildren(...next.nodes.map(balancerRow));
}

function balancerRow({ name, balancer, check, requests }) {
  const state = element("span", `badge ${balancerStates[balancer.split(" ")[0]] ?? ""}`, balancer);
  const row = element("tr", "", [
    element("td", "", name),
    element("td", "", state),
    element("td", "", check),
    element("td", "number", String(requests)),
  ]);
  row.dataset.name = name;
  return row;
}

/** Says in words what is different, for the log that screen readers read out. */
function tellChanges(before, next) {
  if (before === undefined) return;
  const all = [...next.nodes, ...next.redis];
  for (const { name, state } of all) {
    const old = [...before.nodes, ...before.redis].find((each) => each.name === name)?.state;
    if (old !== state) tell(name, state === "up" ? "runs" : state === "hung" ? "hangs" : "is gone", state !== "up");
  }
  if (next.master !== before.master && next.master !== null) tell(next.master, "is the Redis master");
  for (const { name, balancer } of next.nodes) {
    const old = before.nodes.find((each) => each.name === name)?.balancer;
    if (old !== balancer && !balancer.includes("/")) tell(name, `is ${balancer} for HAProxy`, balancer !== "UP");
  }
}

const clock = (time) => new Date(time).toLocaleTimeString("en-GB");

function addLine(list, parts, isBad) {
  const line = element("li", isBad ? "bad" : "", parts);
  list.prepend(line);
  while (list.children.length > shown[list.id]) list.lastChild.remove();
  return line;
}

function tell(name, text, isBad = false) {
  const what = element("b", "", name);
  what.dataset.name = name;
  addLine($("events"), [element("span", "", clock(Date.now())), element("span", "", [what, ` ${text}`])], isBad);
}

function showRequest({ server, status, ms, method, path, retries, at }) {
  const node = server === "<NOSRV>" ? "nobody" : server;
  const who = element("b", "", node);
  who.dataset.name = node;
  const line = element("span", "", [
    who,
    ` ${method} ${path}${retries > 0 ? `, after ${retries} that didn’t answer` : ""}`,
  ]);
  addLine(
    $("requests"),
    [element("span", "", clock(at)), line, element("span", "", `${status} · ${ms} ms`)],
    status >= 400 || status < 0,
  );
}

const events = new EventSource("/panel/events");
events.addEventListener("view", ({ data }) => show(JSON.parse(data)));
events.addEventListener("request", ({ data }) => showRequest(JSON.parse(data)));
events.addEventListener("open", () => {
  $("requests").replaceChildren(); // the panel tells the last ones again
  setText($("link"), "Live");
});
events.addEventListener("error", () => setText($("link"), "The demo has ended, or its connection broke."));
visit();
