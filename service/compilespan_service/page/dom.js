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

/** A table; columns are [title, cell(row), isNumber]. */
export function table(caption, columns, rows) {
  const head = columns.map(([title, , number]) =>
    element("th", { scope: "col", class: number ? "number" : null }, title));
  const body = rows.map((row) => element("tr", {},
    ...columns.map(([, cell, number]) =>
      element("td", { class: number ? "number" : null }, String(cell(row) ?? "–")))));
  return element("table", { "aria-label": caption },
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
}
