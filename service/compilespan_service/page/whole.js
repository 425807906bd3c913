// The timeline of a start or a job, with a summary in words and a table.

import { byId, show, table } from "./dom.js";
import { duration } from "./format.js";
import { union } from "./spans.js";
import { kindsText } from "./timeline.js";

const SHOWN_S = 0.05;

/** wait: seconds in which the server waited for a request or another replica; they have no bar. */
export function drawWhole(timeline, { title, spans, from, to, wait, isCut = false }) {
  const length = Math.max(0, to - from) / 1000;
  const covered = union(spans, from, to);
  const idle = length - covered - wait;
  byId("covered").textContent = [
    `${duration(covered)} of ${duration(length)} in bars`,
    wait > SHOWN_S && `${duration(wait)} waiting`,
    idle > SHOWN_S && !isCut && `${duration(idle)} idle: nothing was compiled, loaded or imported`,
    isCut && "earlier compiles are in the numbers, but have no bar",
  ].filter(Boolean).join(" · ");
  timeline.draw(title, spans, from, to);
  show(byId("timeline-table"), table(title, [
    ["name", (span) => span.name],
    ["what", (span) => kindsText(span.kinds)],
    ["begins at", (span) => duration(Math.max(0, (span.start - from) / 1000)), true],
    // Not from the times of the drawing: milliseconds since 1970 are too coarse.
    ["seconds", (span) => (span.details.seconds ?? (to - span.start) / 1000).toFixed(6), true],
    ["spent on", (span) => span.details["spent on"]],
    ["graphs", (span) => span.details.graphs, true],
    ["cache", (span) => span.details.cache],
    ["outcome", (span) => span.details.outcome],
    ["recompile", (span) => span.details["recompiled because"]],
  ], spans));
}
