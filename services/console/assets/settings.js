// Copies, and checks a new number while it is typed. Without it, buttons do the same.
"use strict";

(() => {
  const QUIET_MS = 900;

  for (const button of document.querySelectorAll("button.copy")) {
    if (!navigator.clipboard) break;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    });
  }

  const form = document.querySelector("form[data-check]");
  const list = document.getElementById("findings");
  if (!form || !list) return;
  const names = ["phone_number_id", "waba_id", "access_token"];
  const words = {
    ok: ["in order", "live"], warning: ["look at it", "waiting"], broken: ["broken", "broken"],
    not_applicable: ["not applicable", ""], unchecked: ["could not be checked", ""],
  };
  const element = (name, text, kind) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const show = (findings) => {
    const items = findings.map((one) => {
      const [word, kind] = words[one.verdict] ?? [one.verdict, ""];
      const item = document.createElement("li");
      item.append(element("span", word, `badge ${kind}`), " ", element("strong", one.looks_at), " ",
        element("span", one.found, "hint"));
      if (one.cause) item.append(element("p", one.fix ? `${one.cause} What to do: ${one.fix}` : one.cause));
      return item;
    });
    const all = document.createElement("ol");
    all.className = "checks";
    all.append(...items);
    list.replaceChildren(element("h2", "What Meta says"), all);
  };
  let timer = 0;
  let asked = "";
  const check = async () => {
    const body = JSON.stringify(Object.fromEntries(names.map((name) => [name, form.elements[name].value.trim()])));
    if (body === asked || names.some((name) => !form.elements[name].value.trim())) return;
    asked = body;
    list.replaceChildren(element("p", "Asking Meta …", "hint"));
    try {
      const headers = { "content-type": "application/json", "x-csrf-token": form.dataset.csrf };
      const answer = await fetch(form.dataset.check, { method: "POST", headers, body });
      const told = await answer.json();
      if (body !== asked) return;
      if (answer.ok) return show(told.findings);
      const fields = (told.fields ?? []).map((one) => `${one.field} ${one.problem}`).join("; ");
      list.replaceChildren(element("p", fields || `${told.message} ${told.what_to_do}`, "problem"));
    } catch {
      list.replaceChildren(element("p", "The console does not answer.", "problem"));
    }
  };
  for (const name of names) {
    form.elements[name].addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(check, QUIET_MS);
    });
  }
})();
