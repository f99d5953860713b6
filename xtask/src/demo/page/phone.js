// The customer's phone.
"use strict";

const customers = [
  { phone: "15550100123", name: "Dana Okafor" },
  { phone: "4915550100456", name: "Jonas Weber" },
  { bsuid: "US.13491208655302741918", name: "Mina Park", username: "mina.park" },
];
const say = ["Hello", "What are your opening hours?", "I want to speak to a human", "My order 1042 has not arrived", "Thank you!"];
let customer = customers[0];
const customerId = () => customer.phone ?? customer.bsuid;
// What was sent from this page, to show it.
const previews = new Map();

for (const [index, one] of customers.entries())
  $("#customer").append(Object.assign(element("option", "", one.phone ? one.name : `${one.name}, no phone number`), { value: index }));
$("#customer").addEventListener("change", (event) => {
  customer = customers[event.target.value];
  refreshPhone();
});
for (const words of say) {
  const chip = Object.assign(element("button", "", words), { type: "button" });
  chip.addEventListener("click", () => write(words));
  $(".chips").append(chip);
}

const write = (text) => post("/whatsapp/say", { number, customer, text });
const act = async (verb, preview) => {
  const done = await post("/whatsapp/act", { number, customer, act: verb });
  if (done && preview) previews.set(done.wamids[0], preview);
};

$("#say").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = event.target.querySelector("input[type=text]");
  if (input.value.trim()) write(input.value.trim());
  input.value = "";
});

const kindOf = (type) => (/^image\/(jpeg|png)/.test(type) ? "image" : /^video\/(mp4|3gpp)/.test(type) ? "video" : /^audio\//.test(type) ? "audio" : "document");
$("#phone-file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  const verb = kindOf(file.type);
  const sent = { bytes: await base64(file), mime_type: file.type || "application/octet-stream" };
  if (verb === "document") sent.filename = file.name;
  act({ verb, file: sent, ...(verb === "audio" ? {} : { caption: null }) }, verb === "image" ? URL.createObjectURL(file) : null);
});
const acts = {
  file: () => $("#phone-file").click(),
  image: () => {
    const { data, mime } = picture("The parcel, as it came");
    act({ verb: "image", file: { bytes: data, mime_type: mime }, caption: "This is how it came" }, `data:${mime};base64,${data}`);
  },
  document: () => act({ verb: "document", file: { size: 48000, mime_type: "application/pdf", filename: "invoice-1042.pdf" }, caption: null }),
  voice: () => act({ verb: "voice", file: {} }),
  location: () => act({ verb: "location", latitude: 52.52, longitude: 13.405, name: "Alexanderplatz", address: "10178 Berlin", url: null }),
  burst: async () => {
    for (const words of ["Hi", "it's me again", "about the order", "1042", "any news?"]) await write(words);
  },
};
$("#attach-menu").addEventListener("click", (event) => acts[event.target.dataset.act]?.());

const ticks = { sent: ["✓", "sent"], delivered: ["✓✓", "delivered"], read: ["✓✓", "read"], played: ["✓✓", "played"], failed: ["!", "failed"] };
const icons = { image: "Photo", video: "Video", audio: "Audio", document: "Document", sticker: "Sticker" };
const fileCard = (kind, name, mime, bytes) =>
  element("div", "file", element("span", "", element("strong", "", name || kind), element("small", "", [mime, bytes ? size(bytes) : ""].filter(Boolean).join(", "))));

const phoneMessage = ({ message, failed }) => {
  const { content } = message;
  const made = element("div", `m ${message.from_customer ? "me" : ""}`);
  const kind = content?.kind ?? "text";
  if (kind === "reaction") {
    made.className = "m note";
    made.append(`${message.from_customer ? "You" : "Support"} reacted ${message.text}`);
    return made;
  }
  const preview = previews.get(message.wamid);
  if (preview) made.append(Object.assign(element("img"), { src: preview, alt: "The picture that was sent" }));
  else if (content?.file) made.append(fileCard(content.file.voice ? "Voice note" : icons[kind] ?? "File", content.file.filename, content.file.mime_type, content.file.bytes));
  if (content?.header) made.append(element("strong", "by", content.header));
  if (kind === "location") made.append(fileCard("Location", content.object.name, content.object.address ?? "", 0));
  else if (message.text && !/^\[\w+\]$/.test(message.text)) made.append(message.text);
  const tick = failed ? ticks.failed : message.from_customer ? ticks[message.tick] : null;
  const meta = element("span", "meta", minute(message.at_ms));
  // The customer sees for their own words whether they were read; the rep sees it for theirs.
  if (tick) meta.append(Object.assign(element("span", tick[1], tick[0]), { title: tick[1] }), element("span", "unseen", tick[1]));
  made.append(meta);
  const offers = kind.startsWith("interactive") || kind === "template" ? [...(content.rows?.length ? content.rows : content.buttons ?? [])] : [];
  if (offers.length > 0) {
    const group = element("div", "offers");
    for (const [index, offer] of offers.entries()) {
      const button = Object.assign(element("button", "", offer.title), { type: "button" });
      if (offer.description) button.append(element("small", "", offer.description));
      button.addEventListener("click", () => act(
        kind === "template" ? { verb: "tap_quick_reply", wamid: message.wamid, index }
          : { verb: kind === "interactive/list" ? "tap_row" : "tap_button", wamid: message.wamid, id: offer.id }));
      group.append(button);
    }
    made.append(group);
  }
  return made;
};

const met = new Set();
let phoneView = null;
const refreshPhone = async () => {
  const asked = customerId();
  // Who was never there has no chat: asking for one would be an error in the browser's eyes.
  if (!met.has(asked)) {
    const mine = (one) => one.number === number && [one.customer, one.bsuid].includes(asked);
    if (((await get("/whatsapp/phones")) ?? []).some(mine)) met.add(asked);
  }
  const view = !met.has(asked) ? null : await get(`/whatsapp/phone?number=${number}&customer=${encodeURIComponent(asked)}`);
  if (asked !== customerId()) return;
  phoneView = view;
  const shown = (view?.messages ?? []).filter((message) => message.from_customer || message.visible);
  const items = shown.map((message) => ({ key: message.wamid, message, failed: message.tick === "failed" }));
  if (view?.typing) items.push({ key: "typing" });
  if (items.length === 0) items.push({ key: "welcome" });
  draw($("#phone .list"), items, (item) => {
    if (item.key === "typing") return element("div", "m", element("span", "unseen", "typing"), dots());
    if (item.key === "welcome") return element("p", "welcome", `You are ${customer.name}. Say hello: the assistant answers. Ask for a person: a rep gets the chat, on the right.`);
    return phoneMessage(item);
  });
  $("#presence").textContent = view?.typing ? "typing…" : "+1 555 010 0200";
};
