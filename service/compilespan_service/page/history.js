// Earlier starts as columns, and what was compiled while serving.

import { byId, element, table } from "./dom.js";
import {
  COMPONENTS, clock, componentClass, day, duration, gigabytes, guard, stageWord, worded,
} from "./format.js";

const SHOWN = 12;

export function showStarts(starts) {
  const place = byId("starts");
  if (!starts.length) {
    place.replaceChildren(element("li", { class: "muted" },
      "Nothing is known of earlier starts: name a state directory with --state-dir."));
    byId("starts-table").replaceChildren();
    return;
  }
  const longest = Math.max(...starts.map((start) => seconds(start)), 0.001);
  place.replaceChildren(...starts.slice(0, SHOWN).map((start) => row(start, longest)));
  byId("starts-table").replaceChildren(table("Starts", [
    ["started", (start) => day(start.started_at)],
    ["cache", (start) => start.cache],
    ["ready after", (start) => duration(start.ready_after_s), true],
    ...COMPONENTS.filter((each) => starts.some((start) => start[each].compile_s))
      .map((each) => [worded(each), (start) => duration(start[each].compile_s), true]),
    ["cache hits", (start) => `${start.total.cache_hits} of ${start.total.graphs}`, true],
    ["torch", (start) => start.versions.torch],
    ["ended", (start) => start.ended],
  ], starts));
}

const seconds = (start) => start.total.compile_s;

function row(start, longest) {
  const item = element("li", {},
    element("time", { datetime: start.started_at }, day(start.started_at)),
    element("span", {}, `${start.cache} ${duration(seconds(start))}`));
  const column = element("span", { class: "column", "aria-hidden": "true" });
  for (const component of COMPONENTS) {
    const part = element("span", { class: componentClass(component) });
    part.style.width = `${(start[component].compile_s / longest) * 100}%`;
    column.append(part);
  }
  item.append(column);
  for (const cut of start.interrupted) {
    item.append(element("span", { class: "died" },
      `✕ ${start.ended} ${duration(cut.elapsed_s)} into ${cut.name}, graph ${cut.graphs}`
        + (cut.stage ? `, ${stageWord(cut.stage)}` : "") + memoryText(start.memory)));
  }
  if (!start.interrupted.length && ["killed", "failed"].includes(start.ended)) {
    item.append(element("span", { class: "died" }, `✕ ${start.ended}`));
  }
  return item;
}

function memoryText(memory) {
  if (!memory) return "";
  const of = memory.limit_bytes === null ? "" : ` of ${gigabytes(memory.limit_bytes)}`;
  return `, with ${gigabytes(memory.peak_bytes)}${of} of memory`;
}

/** The shape, grad mode or thread count that the warmup missed, newest first. */
export function showServing(records, isReady) {
  const place = byId("serving");
  if (!records.length) {
    place.replaceChildren(element("p", { class: "muted" },
      isReady ? "Nothing was compiled after ready." : "It is not ready yet."));
    return;
  }
  place.replaceChildren(element("ul", {}, ...records.slice(0, 50).map((record) =>
    element("li", {},
      element("time", { datetime: record.started_at }, clock(record.started_at)),
      ` ${record.name} ${record.is_recompile ? "compiled again" : "compiled"} for `
        + duration(record.duration_s) + (record.request ? ` under ${record.request}` : ""),
      record.recompile_reason ? `: ${guard(record.recompile_reason)}` : "",
      record.recompile_limit_hit ? "; it hit the recompile limit, new shapes run eager" : ""))));
}
