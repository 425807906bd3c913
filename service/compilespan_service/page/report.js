// The page of a run that has ended, as `compilespan report --html` writes it. It sends no requests;
// it contains the run as JSON.

import { showDetails } from "./details.js";
import { byId, element, show } from "./dom.js";
import { showFindings } from "./findings.js";
import { moment as localMoment } from "./format.js";
import { showServing } from "./serving.js";
import { cutOff, partsOf, spanOf } from "./spans.js";
import { showStart } from "./start.js";
import { Timeline } from "./timeline.js";
import { showAbout, showEnd, showNumbers } from "./verdict.js";
import { drawWhole } from "./whole.js";

const moment = (ns) => new Date(ns / 1e6).toISOString();

const run = JSON.parse(byId("capture").textContent);
const dumps = new Map(run.dumps.map((each) => [`${each.pid} ${each.compile_id}`, each.path]));
const dumpOf = (pid, ids) => ids.map((id) => dumps.get(`${pid} ${id}`)).find(Boolean);

/** The records in the format of GET /compiles. */
const records = run.compiles.map((each) => ({
  ...each,
  started_at: moment(each.start_ns),
  events: each.events.map((event) => ({ ...event, at: moment(event.time_ns) })),
  dump: dumpOf(each.pid, each.compile_ids),
}));
/** The start in the format of GET /history. */
const start = {
  ...run,
  segments: run.segments.map((each) => ({
    ...each, started_at: moment(each.start_ns), duration_s: (each.end_ns - each.start_ns) / 1e9,
  })),
};
const totals = {
  ...run.totals, versions: run.versions, scope: { processes: run.processes }, ready_after_s: null,
};
const findings = run.findings.map((finding) => ({
  ...finding,
  compiles: finding.compiles.map((each) => ({ ...each, dump: dumpOf(each.pid, [each.compile_id]) })),
}));

const look = (span) => showDetails(byId("details"), span, null);
const timeline = new Timeline(byId("timeline"), {
  onSpan: look,
  onZoom: (isZoomed) => { byId("whole").hidden = !isZoomed; },
});
byId("whole").addEventListener("click", () => timeline.zoom(null));

function draw() {
  const from = run.began_ns / 1e6;
  const cut = run.interrupted.map((each) => cutOff({ ...each, started_at: moment(each.start_ns) }));
  const spans = [...partsOf(start), ...records.map(spanOf), ...cut];
  drawWhole(timeline, { title: "The run", spans, from, to: from + run.wall_s * 1000, wait: 0 });
}

const serving = records.filter((record) => record.phase === "serving").reverse();
for (const each of document.querySelectorAll("[data-live]")) each.remove();
byId("serving-section").hidden = !serving.length;
showAbout(totals, [], run.host.name, run.command.join(" "));
show(byId("instance"), element("span", {}, localMoment(moment(run.began_ns))));
showEnd(run.exit_code, run.wall_s, start);
showStart(start, run.totals.cache);
showNumbers(totals);
showFindings(findings, run.wall_s, { most: 100, rest: "the file that this page was made from" });
draw();
if (serving.length) showServing(serving, null, (run.began_ns / 1e6) + run.wall_s * 1000, look);
const said = [
  ...run.unknown,
  ...run.left_out ? [`${run.left_out} earlier compiles are in the numbers, but have no bar`] : [],
  ...run.interrupted.map((each) => `${each.name} was still compiling after ${each.elapsed_s.toFixed(1)} s`),
];
byId("notice").hidden = !said.length;
byId("notice").textContent = said.join(". ");
addEventListener("resize", draw);
