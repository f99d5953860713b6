// What all panels share: the simulators' control API, drawing, the story, trouble, setup.
"use strict";

const body = document.body.dataset;
const control = `${body.control}/control`, number = body.number;
const $ = (selector) => document.querySelector(selector);
const element = (tag, className, ...content) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
};

const get = async (path) => {
  const answer = await fetch(control + path);
  return answer.ok ? answer.json() : null;
};
const send = async (method, path, told) => {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(control + path, { method, headers, body: told === undefined ? undefined : JSON.stringify(told) });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) notice(said.message ?? "That did not work.");
  return answer.ok ? said : null;
};
const post = (path, told = {}) => send("POST", path, told);

let noticeTimer = 0;
const notice = (words) => {
  const shown = $("#notice");
  shown.textContent = words;
  shown.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { shown.hidden = true; }, 6000);
};

// Draws only what changed, by key, so that reading, scrolling and what is focused are not disturbed.
const draw = (list, items, make) => {
  const near = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
  let before = null, grew = false;
  for (const item of items) {
    const state = JSON.stringify(item);
    let shown = known.get(item.key);
    known.delete(item.key);
    if (!shown || shown.dataset.state !== state) {
      const fresh = make(item);
      fresh.dataset.key = item.key;
      fresh.dataset.state = state;
      if (shown) shown.replaceWith(fresh);
      else grew = true;
      if (shown) fresh.style.animation = "none";
      shown = fresh;
    }
    const place = before ? before.nextSibling : list.firstChild;
    if (place !== shown) list.insertBefore(shown, place);
    before = shown;
  }
  for (const left of known.values()) left.remove();
  if (grew && near) list.scrollTop = list.scrollHeight;
};

const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minute = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const size = (bytes) => (bytes < 1024 ? `${bytes} B` : bytes < 1 << 20 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / (1 << 20)).toFixed(1)} MB`);
const dots = () => element("span", "dots", element("i"), element("i"), element("i"));
const base64 = (file) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result.split(",", 2)[1]);
  reader.onerror = () => failed(reader.error);
  reader.readAsDataURL(file);
});

// A picture that is made here: nobody needs a file at hand.
const picture = (words) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 480, height: 300 });
  const pen = canvas.getContext("2d");
  const light = pen.createLinearGradient(0, 0, 480, 300);
  light.addColorStop(0, "#0b5c57");
  light.addColorStop(1, "#e9b95a");
  pen.fillStyle = light;
  pen.fillRect(0, 0, 480, 300);
  pen.fillStyle = "#ffffff";
  pen.font = "600 34px system-ui";
  pen.fillText(words, 32, 160);
  return { name: "picture.png", mime: "image/png", data: canvas.toDataURL("image/png").split(",", 2)[1] };
};

// ---- the story: five steps, each ticked off when it happened ----

const story = (done) => {
  let now = true;
  for (const step of document.querySelectorAll("#story li")) {
    const is = Boolean(done[step.dataset.step]);
    step.classList.toggle("done", is);
    step.classList.toggle("now", !is && now);
    if (!is) now = false;
  }
};

// ---- menus and dialogs ----

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]"))
    if (!menu.contains(event.target) || event.target.closest(".menu-items")) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
for (const button of document.querySelectorAll("[data-close]"))
  button.addEventListener("click", () => button.closest("dialog").close());
$("#open-trouble").addEventListener("click", () => $("#trouble").showModal());
if (body.console) {
  $("#to-console").href = body.console;
  $("#to-console").hidden = false;
}

// ---- trouble ----

const half = { probability: 0.5, seed: 7 };
const troubles = [
  { api: "salesforce", name: "Salesforce is down", tells: "Connections are refused. Whoever asks for a person waits, and is told so.", on: () => post("/salesforce/down"), off: () => post("/salesforce/up") },
  { api: "salesforce", name: "Salesforce is slow", tells: "Every call takes two seconds more.", rule: { endpoint: "*", fault: { action: "delay", ms: 2000 } } },
  { api: "salesforce", name: "Salesforce answers 503, every other time", tells: "Calls are repeated, with growing pauses.", rule: { endpoint: "*", fault: { action: "status", status: 503 }, ...half } },
  { api: "salesforce", name: "Salesforce’s answers get lost", tells: "Done there, but we never hear of it: half of the calls.", rule: { endpoint: "*", fault: { action: "lose_answer" }, ...half } },
  { api: "salesforce", name: "Event streams stand still", tells: "Open, but silent: the watchdog finds out and reads what was missed.", on: () => post("/salesforce/streams/stall"), off: () => post("/salesforce/streams/resume") },
  { api: "whatsapp", name: "WhatsApp is down", tells: "Nothing can be sent to the phone; it goes out when it is back.", on: () => post("/whatsapp/down"), off: () => post("/whatsapp/up") },
  { api: "whatsapp", name: "WhatsApp is slow", tells: "Every call takes two seconds more.", rule: { endpoint: "*", fault: { action: "delay", ms: 2000 } } },
  { api: "whatsapp", name: "WhatsApp’s answers get lost", tells: "Sent, but we never hear of it: the send ledger settles it.", rule: { endpoint: "*", fault: { action: "lose_answer" }, ...half } },
  { api: "whatsapp", name: "Webhooks come three times", tells: "As Meta sometimes does. Each counts once.", on: () => post("/whatsapp/config", { duplicates: 2 }), off: () => post("/whatsapp/config", { duplicates: 0 }) },
];
const once = [
  { name: "Cut every event stream", tells: "They are opened again, and the gap is filled.", act: () => post("/salesforce/streams/cut") },
  { name: "Expire Salesforce’s tokens", tells: "New ones are asked for; nothing is sent twice.", act: () => post("/salesforce/expire-tokens") },
  { name: "A day passes at WhatsApp", tells: "The 24-hour window closes: a rep’s words wait until the customer writes.", act: () => post("/whatsapp/advance", { seconds: 25 * 3600 }) },
];
const boxes = new Map();
const rules = async (api) => {
  await send("DELETE", `/${api}/faults`);
  for (const trouble of troubles)
    if (trouble.api === api && trouble.rule && boxes.get(trouble).checked) await post(`/${api}/faults`, trouble.rule);
};
const troubled = () => {
  const count = [...boxes.values()].filter((box) => box.checked).length;
  $("#open-trouble").classList.toggle("on", count > 0);
  $("#open-trouble").textContent = count > 0 ? `Trouble: ${count} on` : "Make trouble";
};
for (const trouble of troubles) {
  const box = Object.assign(element("input"), { type: "checkbox" });
  boxes.set(trouble, box);
  const label = element("label", "tick", box, trouble.name);
  $("#trouble .switches").append(element("div", "one", label, element("small", "", trouble.tells)));
  box.addEventListener("change", async () => {
    troubled();
    if (trouble.rule) await rules(trouble.api);
    else await (box.checked ? trouble.on() : trouble.off());
  });
}
for (const { name, tells, act } of once) {
  const button = Object.assign(element("button", "quiet", name), { type: "button" });
  button.addEventListener("click", async () => {
    if (await act()) notice(`Done: ${name.toLowerCase()}.`);
  });
  $("#trouble .switches").append(element("div", "one", button, element("small", "", tells)));
}
$("#heal").addEventListener("click", async () => {
  for (const [trouble, box] of boxes) {
    if (box.checked && trouble.off) await trouble.off();
    box.checked = false;
  }
  troubled();
  await Promise.all([rules("salesforce"), rules("whatsapp")]);
  notice("Everything is back to normal.");
});
// Trouble that was made before this page was opened.
Promise.all(["salesforce", "whatsapp"].map(async (api) => {
  const known = (await get(`/${api}/faults`).catch(() => null)) ?? [];
  for (const [trouble, box] of boxes)
    if (trouble.api === api && trouble.rule)
      box.checked = known.some(({ endpoint, fault }) => endpoint === trouble.rule.endpoint && fault.action === trouble.rule.fault.action && fault.status === trouble.rule.fault.status);
})).then(troubled);

// ---- setup: the papers of who connects everything by hand ----

const pairs = (list, entries) => list.replaceChildren(...entries.flatMap(([name, value]) =>
  [element("dt", "", name), element("dd", "", element("code", "", value))]));
fetch("/papers").then((answer) => (answer.status === 200 ? answer.json() : null)).then((papers) => {
  if (!papers) return;
  $("#open-setup").hidden = false;
  $("#open-setup").addEventListener("click", () => $("#setup").showModal());
  pairs($("#at-meta"), [["Phone number ID", papers.phone_number_id], ["WhatsApp Business Account ID", papers.waba_id],
    ["Phone number", papers.display_phone_number], ["Access token", papers.access_token]]);
  pairs($("#at-salesforce"), [["Instance URL", papers.instance_url], ["ES Developer Name", papers.es_developer_name],
    ["Salesforce Org ID", papers.org_id], ["JWT issuer", papers.issuer], ["Messaging host", papers.messaging_url]]);
});
$("#register").addEventListener("submit", async (event) => {
  event.preventDefault();
  const told = $("#registered");
  try {
    const { kid, n, e } = JSON.parse($("#jwk").value);
    if (!kid || !n || !e) throw new Error("a JWK has kid, n and e");
    const { keys } = await get("/salesforce/config");
    const kept = keys.filter((key) => key.kid !== kid);
    told.textContent = (await post("/salesforce/config", { keys: [...kept, { kid, n, e }] })) ? `Salesforce knows ${kid} now.` : "";
  } catch (error) {
    told.textContent = `That is no JWK: ${error.message}`;
  }
});
