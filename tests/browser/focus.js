// What can be reached by Tab, and whether what has the focus shows it.
// Behind an open dialog nothing can be reached.
const within = document.querySelector("dialog:modal") ?? document;
const reachable = [...within.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]")]
  .filter((node) => node.tabIndex >= 0 && !node.disabled && node.checkVisibility({ visibilityProperty: true }));
const told = (node) => `${node.tagName.toLowerCase()} ${(node.getAttribute("aria-label") ?? node.name ?? "")} ${(node.innerText ?? "").trim().slice(0, 40)}`.trim();
window.batonSeen ??= new Set();
if (arguments[0] === "start") {
  window.batonSeen = new Set();
  document.activeElement?.blur();
  return null;
}
if (arguments[0] === "step") {
  const node = document.activeElement;
  const left = () => reachable.some((one) => !window.batonSeen.has(one));
  if (!node || node === document.body) return [null, left()];
  window.batonSeen.add(node);
  const style = getComputedStyle(node);
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
  const wrong = outlined || style.boxShadow !== "none" ? null : `no visible focus: ${told(node)}`;
  return [wrong, left()];
}
return reachable.filter((node) => !window.batonSeen.has(node)).map((node) => `not reached by Tab: ${told(node)}`);
