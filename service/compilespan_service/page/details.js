// Details of one bar, in a panel at a fixed place beside the timeline.

import { copy, element, show } from "./dom.js";
import { MARKS } from "./marks.js";

const MAX_BREAKS = 5;

/** traceUrl: address of a trace, with {trace_id} in it; null if none is configured. */
export function showDetails(place, span, traceUrl) {
  if (!span) {
    show(place, element("p", { class: "muted" },
      "Choose a bar, or move to one with Tab and the arrow keys."));
    return;
  }
  const list = element("dl");
  const add = (name, ...values) =>
    list.append(element("dt", {}, name), element("dd", {}, ...values));
  for (const [name, value] of Object.entries(span.details)) {
    if (value !== null && value !== undefined && value !== "") add(name, String(value));
  }
  for (const [name, [sign, word]] of Object.entries(MARKS)) {
    const number = span.events.filter((event) => event.name === name).length;
    if (number) add(`${sign} ${word}`, String(number));
  }
  if (span.record) addIds(add, span.record, traceUrl);
  show(place, element("h3", {}, span.name), list, ...breaks(span.record));
}

function addIds(add, record, traceUrl) {
  const copied = (text, what) => [element("span", {}, text), copy(text, what)];
  if (record.file) add("at", ...copied(`${record.file}:${record.line}`, "the place"));
  if (record.compile_ids.length) {
    add("compile ids", ...copied(record.compile_ids.slice(0, 8).join(", "), "the compile ids"));
  }
  if (record.dump) add("dump", ...copied(record.dump, "the path of the dump"));
  if (!record.trace_id) return;
  add("trace", ...copied(record.trace_id, "the trace id"),
    ...(traceUrl ? [element("a", { href: traceUrl.replaceAll("{trace_id}", record.trace_id),
      target: "_blank", rel: "noopener noreferrer" }, "open the trace")] : []));
  add("span", ...copied(record.span_id, "the span id"));
}

/** Graph breaks with torch's reason and hint. */
function breaks(record) {
  const found = record?.graph_breaks ?? [];
  const made = found.slice(0, MAX_BREAKS).map((each) => element("div", { class: "break" },
    element("p", {}, `▾ ${each.file ? `${each.file}:${each.line}` : "graph break"}`),
    element("p", {}, each.reason),
    ...(each.hint ? [element("p", {}, `→ ${each.hint}`)] : []),
    ...(each.link.startsWith("https://") ? [element("p", {}, element("a",
      { href: each.link, target: "_blank", rel: "noopener noreferrer" }, "about this break"))] : [])));
  const more = found.length - MAX_BREAKS;
  if (more > 0) made.push(element("p", { class: "muted" }, `and ${more} more, in the record`));
  return made;
}
