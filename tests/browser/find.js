// Elements as a person or a screen reader finds them: by role and accessible name, visible ones only.
const [role, wanted, inside] = arguments;
const KINDS = {
  button: "button, input[type=submit], summary, [role=button]",
  link: "a[href]",
  field: "input:not([type=hidden]):not([type=checkbox]):not([type=radio]):not([type=submit]), textarea, select",
  tick: "input[type=checkbox]",
  heading: "h1, h2, h3",
  row: "tr",
  any: "body *",
};
const words = (text) => (text ?? "").replace(/\s+/g, " ").trim();
const plain = (node) => {
  const copy = node.cloneNode(true);
  for (const control of copy.querySelectorAll("input, select, textarea, button")) control.remove();
  return words(copy.textContent);
};
const name = (node) => {
  const by = node.getAttribute("aria-labelledby");
  if (by) return words(by.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" "));
  const label = node.getAttribute("aria-label");
  if (label) return words(label);
  if (node.labels?.length) return [...node.labels].map(plain).join(" ");
  return words(node.innerText ?? node.textContent);
};
const scopes = inside
  ? [...document.querySelectorAll("section, form, fieldset, dialog, li, nav, [role=group], [role=log], main, tr")].filter((scope) => name_of(scope) === inside)
  : [document];
function name_of(scope) {
  if (scope.getAttribute("aria-labelledby") || scope.getAttribute("aria-label")) return name(scope);
  const heading = scope.querySelector("h1, h2, h3, legend");
  return heading ? words(heading.textContent) : "";
}
const found = [];
for (const scope of scopes)
  for (const node of scope.querySelectorAll(KINDS[role]))
    if (node.checkVisibility({ visibilityProperty: true }) || node.type === "file") {
      const own = name(node);
      const same = wanted.endsWith("…") ? own.startsWith(wanted.slice(0, -1)) : own === wanted;
      if (same && !found.includes(node)) found.push(node);
    }
return found;
