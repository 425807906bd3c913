// This start and earlier ones as columns: compiles of the start, and separately those of serving.

import { byId, element, show, table } from "./dom.js";
import {
  COMPONENTS, componentClass, day, duration, gigabytes, stageWord, worded,
} from "./format.js";

const SHOWN = 12;

export function showStarts(starts) {
  const place = byId("starts");
  if (!starts.length) {
    show(place, element("li", { class: "muted" },
      "No starts are recorded: set a state directory with --state-dir."));
    show(byId("starts-table"));
    return;
  }
  const longest = Math.max(...starts.map(whole), 0.001);
  const rows = starts.slice(0, SHOWN).map((start) => row(start, longest));
  if (starts.length > SHOWN) {
    rows.push(element("li", { class: "muted" }, `and ${starts.length - SHOWN} earlier ones`));
  }
  show(place, ...rows);
  show(byId("starts-table"), table("Starts", [
    ["started", (start) => day(start.started_at)],
    ["cache", (start) => start.cache],
    ["ready after", (start) => duration(start.ready_after_s), true],
    ...COMPONENTS.filter((each) => starts.some((start) => start.compile[each]))
      .map((each) => [worded(each), (start) => duration(start.compile[each] ?? 0), true]),
    ["while serving", (start) => duration(start.serving_s), true],
    ["failed", (start) => duration(start.total.failed_s), true],
    ["cache hits", (start) => `${start.total.cache_hits} of ${start.total.graphs}`, true],
    ["torch", (start) => start.versions.torch],
    ["ended", (start) => start.ended],
  ], starts));
}

/** Seconds of a start, summed over its parts without waiting. */
function whole(start) {
  return Object.entries(start.start)
    .reduce((seconds, [part, each]) => seconds + (part === "wait" ? 0 : each), 0);
}

function stateOf(start) {
  if (start.cache !== "unknown") return start.cache;
  return start.ended === "running" ? "not ready yet" : "";
}

function row(start, longest) {
  const item = element("li", {},
    element("time", { datetime: start.started_at }, day(start.started_at)),
    element("span", {}, `${stateOf(start)} ${duration(start.ready_after_s ?? whole(start))}`));
  const column = element("span", { class: "column", "aria-hidden": "true" });
  const pieces = COMPONENTS.map((each) => [componentClass(each), start.compile[each] ?? 0]);
  const compiled = pieces.reduce((seconds, [, each]) => seconds + each, 0);
  for (const [kind, seconds] of [...pieces, ["rest", whole(start) - compiled]]) {
    const part = element("span", { class: kind });
    part.style.width = `${(seconds / longest) * 100}%`;
    column.append(part);
  }
  item.append(column);
  if (start.serving_s) {
    item.append(element("span", { class: "serving" },
      `${duration(start.serving_s)} compiled while serving`));
  }
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
