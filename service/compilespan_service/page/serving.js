// Compiles while serving: a timeline since ready, and a list.

import { byId, element, show } from "./dom.js";
import { clock, duration, guard } from "./format.js";
import { spanOf } from "./spans.js";
import { Timeline } from "./timeline.js";

const SHOWN = 50;

let timeline = null;

/** records: of phase serving, newest first; readyAt, now: milliseconds since 1970; readyAt is null
 *  before ready. */
export function showServing(records, readyAt, now, onSpan) {
  byId("serving-text").textContent = textOf(records, readyAt);
  byId("serving-timeline").hidden = !records.length;
  const rows = records.slice(0, SHOWN).map(row);
  if (records.length > SHOWN) {
    rows.push(element("li", { class: "muted" }, `and ${records.length - SHOWN} earlier ones`));
  }
  show(byId("serving"), ...rows);
  if (!records.length) return;
  if (!timeline) {
    const whole = byId("serving-whole");
    timeline = new Timeline(byId("serving-timeline"), {
      onSpan: (span) => span && onSpan(span),
      onZoom: (isZoomed) => { whole.hidden = !isZoomed; },
    });
    whole.addEventListener("click", () => timeline.zoom(null));
  }
  const spans = records.map(spanOf).reverse();
  timeline.draw("Since ready", spans, readyAt ?? spans[0].start, now);
}

function textOf(records, readyAt) {
  if (records.length) return `last at ${clock(records[0].started_at)}`;
  return readyAt === null ? "It is not ready: nothing is served yet."
    : `nothing compiled under a request since ${clock(readyAt)}`;
}

function did(record) {
  if (record.outcome === "skipped") return "runs eager: Dynamo skipped it after tracing";
  const words = { load: "loaded", capture: "captured", kernel: "built a kernel" };
  return words[record.kind] ?? (record.is_recompile ? "compiled again" : "compiled");
}

function row(record) {
  return element("li", {},
    element("time", { datetime: record.started_at }, clock(record.started_at)),
    ` ${record.name} ${did(record)} for `
      + duration(record.duration_s) + (record.request ? ` under ${record.request}` : ""),
    record.outcome === "failed" ? ` and failed: ${record.error_message ?? record.error_type}` : "",
    record.recompile_reason ? `: ${guard(record.recompile_reason)}` : "",
    record.recompile_limit_hit ? "; it hit the recompile limit, new shapes run eager" : "");
}
