// The log as it grows, in words.
"use strict";

const MOST_ENTRIES = 800;
const first = (object) => Object.entries(object ?? {})[0] ?? ["", {}];
const short = (text) => (text && text.length > 70 ? `${text.slice(0, 70)}…` : text ?? "");
const quoted = (text) => (text ? `: “${short(text)}”` : "");
const ORIGINS = { ORIGIN_ASSISTANT: "the assistant’s words", ORIGIN_REP: "the rep’s words", ORIGIN_BOT: "the bot’s words", ORIGIN_NOTICE: "a notice", ORIGIN_CAMPAIGN: "a campaign’s message" };

const outputs = (decision) => (decision.outputs ?? []).map((output) => {
  const [kind, told] = first(output);
  const call = kind === "call" ? first(told)[0] : "";
  return {
    send: () => `send ${ORIGINS[told.origin] ?? "a message"}`, ask: () => "ask the assistant", follow: () => "follow the thread",
    unfollow: () => "stop following", timer: () => "set a timer", seen: () => "mark as read", control: () => "pass the thread on",
    move: () => "move to the customer’s new ids", withheld: () => "send nothing", replied: () => "count the reply", wants_marketing: () => "note the consent",
    call: () => ({ open: "open a conversation in Salesforce", forward: "forward to the rep", note: "tell the rep", end_session: "end the session in Salesforce" })[call] ?? "call Salesforce",
  }[kind]?.() ?? kind;
});

const WHO = ["assistant", "opening", "waiting", "live", "inactive"];
const sentence = (entry) => {
  const [name, told] = first(entry.entry);
  switch (name) {
    case "whatsapp_message": {
      const media = told.media ? `a file${quoted(told.media.caption)}` : "";
      return ["customer", told.text ? `Customer${quoted(told.text)}` : `Customer: ${media || first(Object.fromEntries(Object.entries(told).filter(([key]) => ["location", "contacts", "choice", "form", "order", "reaction", "edited", "revoked", "unsupported", "notice"].includes(key))))[0] || "something else"}`];
    }
    case "whatsapp_status": return ["small", `WhatsApp: ${told.status ?? "status"}`];
    case "assistant_answer": return ["assistant", told.handoff ? `Assistant: hand over${quoted(told.handoff.reason)}` : told.reply ? `Assistant${quoted(told.reply.text)}` : told.close ? "Assistant: done" : "Assistant: says nothing"];
    case "thread_followed": return ["small", "The event stream is up"];
    case "call_result": return [told.result === "RESULT_DONE" ? "small" : "wrong", told.result === "RESULT_DONE" ? "Salesforce did it" : `Salesforce: ${told.detail || "away"}`];
    case "salesforce_event": {
      const wrote = told.rep_wrote ?? told.bot_wrote;
      if (wrote) return ["rep", `${wrote.sender || "Rep"}${quoted(wrote.text) || ": more than text"}`];
      if (told.session_status) return ["rep", `Salesforce: session ${told.session_status.status}`];
      if (told.rep_joined) return ["rep", `${told.rep_joined.name || "A rep"} joined`];
      if (told.rep_left) return ["rep", `${told.rep_left.name || "The rep"} left`];
      if (told.rep_typing) return ["small", "The rep is typing"];
      if (told.queued) return ["rep", `Place in the queue: ${told.queued.position ?? "?"}`];
      if (told.routing_failed) return ["wrong", "Nobody can take it"];
      return ["small", `Salesforce: ${told.other?.event ?? "closed"}`];
    }
    case "undelivered": return ["wrong", "Could not be delivered: the rep is told"];
    case "timer_fired": return ["small", "A timer is due"];
    case "operator_command": return ["baton", "An operator asks for it"];
    case "decision": {
      const done = outputs(told), owner = WHO.find((one) => told.state && one in told.state);
      return done.length > 0 ? ["baton", `Baton: ${done.join(", ")}`] : ["small", `Baton: nothing to do${owner ? ` (${owner})` : ""}`];
    }
    case "send_intent": return ["small", "About to send"];
    case "send_outcome": return [told.refused ? "wrong" : "small", told.refused ? "WhatsApp refused it" : "Sent"];
    case "media_fetched": return ["small", "The file is kept"];
    case "outreach": return ["baton", "A campaign’s turn"];
    default: return ["small", name || entry.kind];
  }
};

$("#all-entries").addEventListener("change", (event) => $("#log").classList.toggle("all", event.target.checked));
new EventSource("/log").onmessage = (event) => {
  const entry = JSON.parse(event.data), list = $("#log .list");
  const [kind, words] = sentence(entry);
  const line = element("details", `e ${kind}`);
  const at = entry.at ? clock(Date.parse(entry.at)) : "";
  line.append(element("summary", "", element("span", "", words), element("span", "", `${entry.kind ?? ""} ${at}`)));
  line.addEventListener("toggle", () => {
    if (line.open && line.childElementCount === 1) line.append(element("pre", "", JSON.stringify(entry, null, 1)));
  });
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  list.append(line);
  while (list.childElementCount > MOST_ENTRIES) list.firstChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
};
