// Small helpers to build elements. Text is always text, never markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Replace the content of a place only if it differs, to keep focus and selection. */
export function show(place, ...children) {
  const made = element("div", {}, ...children);
  if (made.innerHTML !== place.innerHTML) place.replaceChildren(...made.childNodes);
}

/** A table; columns are [title, cell(row), isNumber]; a cell is a text or an element. */
export function table(caption, columns, rows) {
  const head = columns.map(([title, , number]) =>
    element("th", { scope: "col", class: number ? "number" : null }, title));
  const body = rows.map((row) => element("tr", {},
    ...columns.map(([, cell, number]) => {
      const content = cell(row) ?? "–";
      return element("td", { class: number ? "number" : null },
        content instanceof Node ? content : String(content));
    })));
  return element("table", { "aria-label": caption },
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
}

/** A button that copies a text. */
export function copy(text, what) {
  return element("button", { type: "button", class: "copy", "data-copy": text,
    "aria-label": `copy ${what}`, title: `copy ${what}` });
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("done");
  } catch {  // no clipboard over plain http beyond loopback
    const held = element("textarea", {}, button.dataset.copy);
    document.body.append(held);
    held.select();
    document.execCommand("copy");
    held.remove();
    button.focus();
    button.classList.add("done");
  }
  setTimeout(() => button.classList.remove("done"), 1500);
});
