// Keeps pages current. Everything on them can be read without it.
"use strict";

(() => {
  const RETRY_MS = 15000;
  const CLOCK_MS = 5000;
  // A list that grew by pushes is cut back to this.
  const MOST_ROWS = 150;
  const live = () => document.getElementById("live");

  // ---- times: "3 min" stays true ----

  const ago = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
  };
  setInterval(() => {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[data-since]")) {
      const words = ago(now - Number(time.dataset.since));
      if (time.textContent !== words) time.textContent = words;
    }
  }, CLOCK_MS);

  // ---- the stream ----

  let source = null;
  let seen = null;
  let retry = 0;

  const say = (words, well) => {
    const pulse = live()?.querySelector(".pulse");
    if (!pulse) return;
    pulse.hidden = false;
    pulse.classList.toggle("lost", !well);
    if (pulse.textContent !== words) pulse.textContent = words;
  };

  const close = () => {
    source?.close();
    source = null;
    clearTimeout(retry);
  };

  const open = () => {
    const here = live();
    if (!here?.dataset.stream || source) return;
    const address = new URL(here.dataset.stream, location.href);
    if (seen) address.searchParams.set("since", seen);
    source = new EventSource(address);
    source.addEventListener("open", () => say("Live", true));
    source.addEventListener("rows", (event) => {
      seen = event.lastEventId;
      say("Live", true);
      changed(JSON.parse(event.data));
    });
    source.addEventListener("reload", (event) => {
      seen = event.lastEventId;
      fetchAgain();
    });
    source.addEventListener("error", () => {
      say("Not live: trying again", false);
      if (source?.readyState !== EventSource.CLOSED) return; // the browser tries by itself
      close();
      retry = setTimeout(open, RETRY_MS);
    });
  };

  // A browser keeps only a few connections to a host: tabs that nobody sees hold none.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  if (!document.hidden) open();

  // ---- what changed ----

  const changed = ({ counts, rows }) => {
    const here = live();
    if (here.dataset.show === "page") {
      if (rows.length > 0) fetchAgain();
      return;
    }
    let all = 0;
    for (const [name, count] of counts) {
      all += count;
      put(name, count);
    }
    put("all", all);
    for (const row of rows) place(row);
    const left = document.querySelectorAll("#rows > tr");
    for (const row of [...left].slice(MOST_ROWS)) row.remove();
    const empty = here.querySelector(".empty");
    if (empty) empty.hidden = left.length > 0;
  };

  const put = (name, count) => {
    const shown = live().querySelector(`[data-count="${name}"]`);
    if (shown) shown.textContent = count;
  };

  const place = ({ key, order, html }) => {
    const old = document.getElementById(`r-${key}`);
    const body = document.getElementById("rows");
    if (!html || !body) {
      old?.remove();
      return;
    }
    // Other pages of the list only keep what they have current.
    if (!old && !("grows" in live().dataset)) return;
    const template = document.createElement("template");
    template.innerHTML = html; // ours, escaped where it was made
    const row = template.content.querySelector("tr");
    const focused = old?.contains(document.activeElement);
    old?.remove();
    const after = [...body.rows].find((other) => other.dataset.order > order);
    body.insertBefore(row, after ?? null);
    row.classList.add("fresh");
    if (focused) row.querySelector("a")?.focus();
  };

  // ---- the page, fetched again ----

  let fetching = false;
  let wanted = false;

  const fetchAgain = async () => {
    if (fetching) {
      wanted = true;
      return;
    }
    fetching = true;
    const pace = Number(live().dataset.pace ?? 1000);
    const mark = seen;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
      // Somebody who is about to press a button is not interrupted.
      if (answer.ok && fresh && !live().querySelector("form:focus-within")) {
        keepChoices(live(), fresh);
        live().replaceWith(fresh);
        say("Live", true);
      } else if (!answer.ok) {
        say("Not live: reload the page", false);
      }
    } catch {
      say("Not live: trying again", false);
      seen = mark;
    }
    await new Promise((done) => setTimeout(done, pace));
    fetching = false;
    if (wanted) {
      wanted = false;
      fetchAgain();
    }
  };

  const keepChoices = (old, fresh) => {
    for (const box of old.querySelectorAll("input[type=checkbox][id]")) {
      const same = fresh.querySelector(`#${box.id}`);
      if (same) same.checked = box.checked;
    }
    for (const [index, details] of [...old.querySelectorAll("details")].entries()) {
      const same = fresh.querySelectorAll("details")[index];
      if (same) same.open = details.open;
    }
  };

  // ---- forms: one press is enough ----

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches(".actions")) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
})();
