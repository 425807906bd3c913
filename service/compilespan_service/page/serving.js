// What was compiled under requests: a timeline of its own since ready, and the list.

import { byId, element, show } from "./dom.js";
import { clock, duration, guard } from "./format.js";
import { spanOf } from "./spans.js";
import { Timeline } from "./timeline.js";

const SHOWN = 50;

let timeline = null;

/** records: of phase serving, newest first; readyAt, now: milliseconds, readyAt null before it. */
export function showServing(records, readyAt, now) {
  byId("serving-text").textContent = textOf(records, readyAt);
  byId("serving-timeline").hidden = !records.length;
  const rows = records.slice(0, SHOWN).map(row);
  if (records.length > SHOWN) {
    rows.push(element("li", { class: "muted" }, `and ${records.length - SHOWN} earlier ones`));
  }
  show(byId("serving"), ...rows);
  if (!records.length) return;
  timeline ??= new Timeline(byId("serving-timeline"));
  const spans = records.map(spanOf).reverse();
  timeline.draw("Since ready", spans, readyAt ?? spans[0].start, now);
}

function textOf(records, readyAt) {
  if (records.length) return `last compiled under a request at ${clock(records[0].started_at)}`;
  return readyAt === null ? "It is not ready: nothing is served yet."
    : `nothing compiled under a request since ${clock(readyAt)}`;
}

function row(record) {
  return element("li", {},
    element("time", { datetime: record.started_at }, clock(record.started_at)),
    ` ${record.name} ${record.is_recompile ? "compiled again" : "compiled"} for `
      + duration(record.duration_s) + (record.request ? ` under ${record.request}` : ""),
    record.outcome === "failed" ? ` and failed: ${record.error_message ?? record.error_type}` : "",
    record.recompile_reason ? `: ${guard(record.recompile_reason)}` : "",
    record.recompile_limit_hit ? "; it hit the recompile limit, new shapes run eager" : "");
}
