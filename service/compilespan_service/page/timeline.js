// The timeline: one SVG on a true time axis. Bars are compiles, marks are their events.

import { byId, element, svg, table } from "./dom.js";
import { componentClass, duration, guard, stagesText, worded } from "./format.js";

const ROW = 30;
const BAR = 16;
const TOP = 26;
const MARKS = {
  "torch.compile.graph": ["◆", "graph"],
  "torch.compile.graph_break": ["▾", "graph break"],
  "torch.compile.recompile": ["↻", "recompile"],
  "torch.compile.recompile_limit": ["✕", "recompile limit"],
};
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400];

let focused = null;  // the key of the bar whose details are shown
let bound = 0;  // the axis grows in steps, so that it does not jump with every tick
let shown = null;

/**
 * Draw spans between two moments.
 * A span: {key, name, row, start, end (null: goes on), kinds: [class], attributes, events}.
 */
export function drawTimeline(title, spans, from, to, explained) {
  const place = byId("timeline");
  if (shown !== title) [shown, bound, focused] = [title, 0, null];
  const width = Math.max(280, place.clientWidth);
  const label = Math.min(170, width * 0.32);
  const rows = [...new Set(spans.map((span) => span.row))];
  if (!rows.length) {
    place.replaceChildren(element("p", { class: "muted" }, "Nothing happened in it yet."));
    byId("timeline-table").replaceChildren();
    return;
  }
  const length = (to - from) / 1000;
  if (length > bound || length < bound / 3) bound = niceEnd(length);
  const x = (time) => label + ((time - from) / 1000 / bound) * (width - label - 28);
  const height = TOP + rows.length * ROW + 24;
  const drawing = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, height, role: "group",
    "aria-label": `${title}: ${spans.length} spans in ${duration(length)}. Arrow keys move.`,
  });
  for (const second of ticks(bound, width)) {
    const at = x(from + second * 1000);
    drawing.append(
      svg("line", { class: "grid", x1: at, x2: at, y1: TOP - 6, y2: height - 20 }),
      svg("text", { class: "axis", x: at, y: TOP - 11, "text-anchor": "middle" },
        duration(second).replace(/\.0+ s$/, " s")));
  }
  rows.forEach((row, index) => {
    const y = TOP + index * ROW;
    drawing.append(svg("text", { x: 0, y: y + BAR - 3 }, shorten(row, label / 7.2)));
    for (const span of spans.filter((each) => each.row === row)) {
      drawing.append(bar(span, x, y, to));
    }
  });
  const gap = length - explained;
  drawing.append(svg("text", { class: "unexplained", x: width < 500 ? 0 : label, y: height - 4 },
    gap > 0.05 ? `${duration(gap)} of ${duration(length)} are explained by no bar`
      : `${duration(length)}, all of it explained`));
  const hadFocus = place.contains(document.activeElement);
  place.replaceChildren(drawing);
  if (hadFocus && focused) drawing.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  drawing.addEventListener("keydown", moveFocus);
  const current = spans.find((span) => span.key === focused);
  showDetails(current ?? null, spans.length);
  drawTable(title, spans, from, to);
}

function bar(span, x, y, now) {
  const end = span.end ?? now;
  const left = x(span.start);
  const group = svg("g", {
    class: span.kinds.join(" "), tabindex: 0, role: "img", "data-key": span.key,
    "aria-label": `${span.name}: ${span.kinds.join(", ").replace("-", " ")}, `
      + `${duration((end - span.start) / 1000)}${span.end === null ? " and going on" : ""}`,
  });
  group.append(svg("rect", {
    class: "bar", x: left, y, height: BAR, width: Math.max(3, x(end) - left), rx: 2,
  }));
  if (span.kinds.includes("failed")) {
    group.append(svg("text", { class: "mark", x: x(end) + 4, y: y + BAR - 3 }, "✕"));
  }
  for (const event of span.events) {
    const mark = MARKS[event.name];
    if (mark) {
      group.append(svg("text", {
        class: "mark", x: x(Date.parse(event.at)), y: y + BAR - 3, "text-anchor": "middle",
      }, mark[0]));
    }
  }
  const show = () => { focused = span.key; showDetails(span); };
  group.addEventListener("focus", show);
  group.addEventListener("pointerenter", show);
  return group;
}

function moveFocus(event) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const bars = [...event.currentTarget.querySelectorAll("g[tabindex]")];
  const next = bars[bars.indexOf(document.activeElement) + step];
  if (next) next.focus();
  event.preventDefault();
}

function showDetails(span, total = 1) {
  const place = byId("details");
  if (!span) {
    place.replaceChildren(element("p", { class: "muted" },
      total ? "Point at a bar, or move to one with Tab and the arrow keys." : ""));
    return;
  }
  const list = element("dl");
  for (const [name, value] of Object.entries(span.attributes)) {
    if (value === null || value === undefined || value === "") continue;
    list.append(element("dt", {}, name), element("dd", {}, String(value)));
  }
  const marks = span.events.map((event) => MARKS[event.name]).filter(Boolean);
  for (const [sign, name] of new Set(marks)) {
    list.append(element("dt", {}, `${sign} ${name}`),
      element("dd", {}, String(marks.filter((mark) => mark[1] === name).length)));
  }
  for (const event of span.events.filter((each) => each.name.endsWith("graph_break")).slice(0, 5)) {
    list.append(element("dt", {}, "▾ at"), element("dd", {},
      `${event.attributes["code.file.path"]}:${event.attributes["code.line.number"]}`));
  }
  place.replaceChildren(element("h3", {}, span.name), list);
}

function drawTable(title, spans, from, to) {
  byId("timeline-table").replaceChildren(table(title, [
    ["name", (span) => span.name],
    ["what", (span) => span.kinds.join(", ").replace("-", " ")],
    ["begins at", (span) => duration(Math.max(0, (span.start - from) / 1000)), true],
    // Not from the drawing's times: those are milliseconds since 1970, and too coarse.
    ["seconds", (span) => (span.attributes.seconds ?? (to - span.start) / 1000).toFixed(6), true],
    ["graphs", (span) => span.attributes.graphs, true],
    ["cache", (span) => span.attributes.cache],
    ["outcome", (span) => span.attributes.outcome],
    ["recompile", (span) => span.attributes["recompiled because"]],
  ], spans));
}

/** The record of a compile, as /compiles has it, as a span. */
export function spanOf(record) {
  const start = Date.parse(record.started_at);
  const kinds = [componentClass(record.component)];
  if (record.kind === "load") kinds.push("load");
  if (record.outcome !== "ok") kinds.push(record.outcome);
  return {
    key: record.span_id || `${record.pid}-${record.started_at}`,
    name: record.name,
    row: record.name,
    start,
    end: start + record.duration_s * 1000,
    kinds,
    events: record.events,
    attributes: {
      component: worded(record.component),
      seconds: record.duration_s,
      "spent on": stagesText(record.stages),
      "waited for a CPU": record.cpu_wait_s ? duration(record.cpu_wait_s) : null,
      kind: record.kind,
      trigger: record.trigger,
      phase: record.phase,
      outcome: record.outcome,
      error: record.error_type,
      graphs: record.graphs,
      cache: record.cache_result,
      request: record.request,
      skipped: record.skip_reason,
      at: record.file ? `${record.file}:${record.line}` : null,
      "recompiled because": guard(record.recompile_reason),
      process: record.pid,
      trace: record.trace_id,
    },
  };
}

function niceEnd(seconds) {
  const step = STEPS.find((each) => each * 8 >= seconds) ?? 3600;
  return Math.max(step, Math.ceil(seconds / step) * step);
}

function ticks(end, width) {
  const step = STEPS.find((each) => end / each <= Math.max(3, width / 110)) ?? end;
  return Array.from({ length: Math.floor(end / step) + 1 }, (_, index) => index * step);
}

function shorten(text, letters) {
  return text.length <= letters ? text : `${text.slice(0, Math.max(4, letters - 1))}…`;
}
