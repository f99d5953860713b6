// What a rep sees and does in Salesforce.
"use strict";

let views = [];
let chosen = null;
let mine = true;
const statusOf = (view) => view?.sessions.at(-1)?.status ?? "";
const view = () => views.find((one) => one.conversation === chosen);
const rep = (verb, more = {}) => (chosen ? post("/salesforce/rep", { conversation: chosen, verb, ...more }) : null);
// An org whose flow never ran knows nobody's name.
const nameOf = (one) => ($("#flow").checked ? one.name : "Guest");
const jon = { id: "005RT0000008vNpYAI", name: "Jon P" };

// ---- the queue ----

const drawQueue = () => {
  const order = { Waiting: 0, Active: 1, Inactive: 2, Ended: 3 };
  const sorted = [...views].sort((a, b) => order[statusOf(a)] - order[statusOf(b)]);
  if (!view()) chosen = sorted[0]?.conversation ?? null;
  const waits = sorted.find((one) => statusOf(one) === "Waiting");
  // Whoever looks at a chat that is over is shown the one who waits.
  if (mine && waits && statusOf(view()) === "Ended") chosen = waits.conversation;
  const items = sorted.slice(0, 20).map((one) => ({ key: one.conversation, name: nameOf(one), status: statusOf(one), on: one.conversation === chosen }));
  if (items.length === 0) items.push({ key: "empty" });
  draw($(".queue"), items, (item) => {
    if (item.key === "empty") return element("p", "lead", "Nobody waits. Ask for a person on the phone.");
    const button = Object.assign(element("button", "", element("span", "", item.name), element("span", `badge ${item.status}`, item.status)), { type: "button" });
    button.setAttribute("aria-pressed", item.on);
    button.addEventListener("click", () => {
      chosen = item.key;
      mine = false;
      drawAll();
    });
    return button;
  });
};

// ---- who it is: with the flow, and without ----

const rows = (list, entries) => list.replaceChildren(...entries.flatMap(([name, value, kind]) => [element("dt", "", name), element("dd", kind ?? "", value)]));
const drawAbout = () => {
  const one = view(), session = one?.sessions.at(-1);
  $("#about").hidden = !one;
  if (!one) return;
  const fields = Object.entries(session?.fields ?? {});
  const state = JSON.stringify([nameOf(one), one.platform_key, session]);
  if ($("#about").dataset.state === state) return;
  $("#about").dataset.state = state;
  rows($("#about .about > dl"), [["Messaging user", nameOf(one)], ["Session", session?.status ?? ""],
    ["Owner", session?.rep?.name ?? (session?.bot ? "the bot" : "queue")],
    ...(fields.length > 0 ? fields : [["Custom fields", "none: no flow writes them"]]), ["Platform key", one.platform_key]]);
  const dropped = new Set(session?.dropped_attributes ?? []);
  rows($("#sent dl"), Object.entries(session?.routing_attributes ?? {}).map(([name, value]) =>
    [name, dropped.has(name) ? `${value} (dropped: the org has no parameter for it)` : value, dropped.has(name) ? "dropped" : ""]));
};
let flow = null;
$("#flow").addEventListener("change", async (event) => {
  const before = (await get("/salesforce/config"))?.flow;
  flow = before ?? flow;
  await post("/salesforce/config", { flow: event.target.checked ? flow ?? {} : null });
  refreshRep();
});
get("/salesforce/config").then((config) => {
  flow = config?.flow ?? null;
  $("#flow").checked = Boolean(flow);
}).catch(() => {});

// ---- the conversation ----

const SAYS = {
  RoutingResult: "routed", RoutingWorkResult: "work assigned", SessionStatusChanged: "session", ParticipantChanged: "participants",
  QueuePosition: "place in the queue told", CloseConversation: "conversation closed",
};
const note = (entry) => {
  const told = JSON.stringify(entry.payload);
  const status = /"sessionStatus":"(\w+)"/.exec(told)?.[1];
  if (entry.entry_type === "SessionStatusChanged") return `Session: ${status ?? "changed"}`;
  if (entry.entry_type === "ParticipantChanged") {
    const operation = /"operation":"(\w+)"/.exec(told)?.[1], name = /"displayName":"([^"]*)"/.exec(told)?.[1];
    return `${name ?? "Somebody"} ${operation === "remove" ? "left" : "joined"}`;
  }
  const work = /"workType":"(\w+)"/.exec(told)?.[1];
  if (entry.entry_type === "RoutingWorkResult" && work) return `Work: ${work.toLowerCase()}`;
  return SAYS[entry.entry_type] ?? entry.entry_type;
};
// The words of what is more than a text: choices, links, cards.
const wordsOf = (part) => {
  if (Array.isArray(part)) return part.flatMap(wordsOf);
  if (!part || typeof part !== "object") return [];
  return Object.entries(part).flatMap(([name, value]) =>
    ["text", "title"].includes(name) && typeof value === "string" ? [value] : wordsOf(value));
};
const hidden = new Set(["DeliveryAcknowledgement", "ReadAcknowledgement", "TypingStartedIndicator", "TypingStoppedIndicator", "TypingIndicator", "RoutingResult", "UnreadCount"]);
const drawTalk = () => {
  const one = view();
  const items = (one?.entries ?? []).filter((entry) => !hidden.has(entry.entry_type)).map((entry) => ({
    key: entry.identifier, name: nameOf(one), text: entry.text, file: entry.file, role: entry.role, sender: entry.sender, at: entry.at_ms,
    tick: entry.role !== "Agent" ? "" : entry.read ? "read" : entry.delivered ? "delivered" : "sent",
    note: entry.entry_type === "Message" ? "" : note(entry),
    words: entry.text || entry.file ? [] : [...new Set(wordsOf(entry.payload))],
  }));
  if (one?.customer_typing) items.push({ key: "typing" });
  if (items.length === 0) items.push({ key: "welcome" });
  draw($("#rep > .list"), items, (item) => {
    if (item.key === "welcome") return element("p", "welcome", "When the customer asks for a person, the chat rings here, with who it is and all that was said.");
    if (item.key === "typing") return element("div", "m", dots());
    if (item.note) return element("div", "m note", item.note);
    const made = element("div", `m ${item.role === "Agent" ? "me" : ""}`);
    made.append(element("span", `by ${item.role === "Agent" ? "rep" : ""}`, item.role === "EndUser" ? item.name : item.sender || item.role));
    if (item.file) made.append(fileCard("File", item.file.name, item.file.mime, item.file.size));
    const [head, ...options] = item.words;
    made.append(item.text ?? head ?? "");
    if (options.length > 0) made.append(element("ul", "", ...options.map((words) => element("li", "", words))));
    const meta = element("span", "meta", minute(item.at));
    if (item.tick) meta.append(Object.assign(element("span", item.tick, ticks[item.tick][0]), { title: item.tick }), element("span", "unseen", item.tick));
    made.append(meta);
    return made;
  });
  const status = statusOf(one), session = one?.sessions.at(-1);
  const live = Boolean(status) && status !== "Ended", talks = status === "Active" && Boolean(session?.rep);
  const may = { accept: live && (status === "Waiting" || !session?.rep), decline: status === "Waiting", queue: status === "Waiting", transfer: talks, requeue: talks, inactive: talks, end: live };
  for (const button of document.querySelectorAll("#rep [data-verb]")) button.disabled = !may[button.dataset.verb];
  for (const field of $("#answer").querySelectorAll("input, #answer > button")) field.disabled = !talks;
  $("#send-menu").hidden = !talks;
  $("#answer input[type=text]").placeholder = talks ? `Answer as ${session.rep.name}` : "Accept a conversation to answer";
  $("#who").textContent = session?.rep?.name ?? "Marta L";
};
const drawAll = () => {
  drawQueue();
  drawAbout();
  drawTalk();
};
const refreshRep = async () => {
  views = (await get("/salesforce/conversations")) ?? [];
  drawAll();
  const texts = (phoneView?.messages ?? []).filter((message) => message.from_customer).length;
  const of = views.find((one) => one.conversation === chosen);
  const sessions = of?.sessions ?? [];
  const wrote = (of?.entries ?? []).some((entry) => entry.role === "Agent" && entry.entry_type === "Message");
  story({ write: texts > 0, ask: sessions.length > 0, accept: sessions.some((one) => one.rep), answer: wrote, end: sessions.length > 0 && sessions.at(-1).status === "Ended" });
};

// ---- what the rep does ----

const TYPING_MS = 4000;
let typedAt = 0, typingTimer = 0;
const stopTyping = () => {
  clearTimeout(typingTimer);
  if (typedAt) rep("typing_stopped");
  typedAt = 0;
};
$("#answer input[type=text]").addEventListener("input", () => {
  if (Date.now() - typedAt > TYPING_MS) {
    typedAt = Date.now();
    rep("typing");
  }
  clearTimeout(typingTimer);
  typingTimer = setTimeout(stopTyping, TYPING_MS);
});
$("#answer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = event.target.querySelector("input[type=text]");
  const text = input.value.trim();
  input.value = "";
  typedAt = 0;
  clearTimeout(typingTimer);
  if (text) await rep("say", { text });
});
const verbs = {
  accept: () => rep("accept"),
  decline: () => rep("decline"),
  queue: () => rep("queue", { position: 3, estimated_wait_s: 240 }),
  transfer: () => rep("transfer", { to: jon }),
  requeue: () => rep("transfer"),
  inactive: () => rep("inactive"),
  end: () => rep("end"),
};
$(".verbs").addEventListener("click", async (event) => {
  mine = true;
  await verbs[event.target.dataset.verb]?.();
  refreshRep();
});
const attach = (file) => rep("send", { content: { kind: "file", ...file } });
const options = (...titles) => titles.map((title) => ({ title }));
const sends = {
  file: () => $("#rep-file").click(),
  picture: () => attach(picture("Your replacement")),
  quick: () => rep("send", { content: { kind: "choices", format: "quick_replies", text: "Shall I send a new one?", options: options("Yes, please", "No, a refund") } }),
  list: () => rep("send", { content: { kind: "choices", format: "list_picker", text: "When may it come?", options: options("Monday", "Tuesday", "Wednesday", "Thursday") } }),
  link: () => rep("send", { content: { kind: "rich_link", title: "Where it is now", url: "https://example.com/parcel/1042" } }),
};
$("#send-menu").addEventListener("click", (event) => sends[event.target.dataset.send]?.());
$("#rep-file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) attach({ name: file.name, mime: file.type || "application/octet-stream", data: await base64(file) });
});

// ---- all of it, again and again ----

const LOOK_MS = 300;
let gone = false;
const look = async () => {
  try {
    if (!document.hidden) await Promise.all([refreshPhone(), refreshRep()]);
    gone = false;
  } catch {
    if (!gone) notice("The demo does not answer: is it still running?");
    gone = true;
  }
  setTimeout(look, gone ? 2000 : LOOK_MS);
};
look();
