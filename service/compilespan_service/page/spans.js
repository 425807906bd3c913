// Records, compiles in progress and parts of the start, as spans on a time axis.
// A span: {key, name, row, start, end (null: in progress), kinds: [class], events, stages, details}.

import { componentClass, duration, guard, stageWord, stagesText, worded } from "./format.js";

const PARTS = {
  boot: "starting Python", import: "import", load: "load", capture: "cudagraphs", wait: "waiting",
};
const STAGE = "torch.compile.stage";
const MAX_STAGES = 32;

/** The span of a record of GET /compiles. */
export function spanOf(record) {
  const start = Date.parse(record.started_at);
  const end = start + record.duration_s * 1000;
  const kinds = [componentClass(record.component)];
  if (record.kind === "load") kinds.push("load");
  if (record.outcome !== "ok") kinds.push(record.outcome);
  return {
    key: record.span_id || `${record.pid}-${record.started_at}-${record.name}`,
    name: record.name, row: record.name, start, end, kinds, record,
    events: record.events.filter((event) => event.name !== STAGE),
    stages: stages(record.events, end),
    details: {
      component: worded(record.component),
      seconds: record.duration_s,
      "spent on": stagesText(record.stages),
      "waited for a CPU": record.cpu_wait_s ? duration(record.cpu_wait_s) : null,
      kind: record.kind,
      trigger: record.trigger,
      phase: record.phase,
      outcome: record.outcome,
      error: [record.error_type, record.error_message].filter(Boolean).join(": "),
      graphs: record.graphs,
      cache: record.cache_result,
      request: record.request,
      skipped: record.skip_reason,
      "recompiled because": guard(record.recompile_reason),
      process: record.pid,
    },
  };
}

/** Begin and end of each stage; empty if the record may lack some of them. */
function stages(events, end) {
  const begun = events.filter((event) => event.name === STAGE);
  if (begun.length >= MAX_STAGES) return [];
  return begun.map((event, index) => ({
    stage: event.attributes[STAGE],
    start: Date.parse(event.at),
    end: index + 1 < begun.length ? Date.parse(begun[index + 1].at) : end,
  }));
}

/** A compile in progress; `events` are those received so far. */
export function goingOn(begun, events) {
  return {
    key: `live-${begun.key ?? begun.started_at}`, name: begun.name, row: begun.name,
    start: Date.parse(begun.started_at), end: null,
    kinds: [componentClass(begun.component)], events, stages: [],
    details: {
      component: worded(begun.component), outcome: "still compiling",
      stage: begun.stage ? stageWord(begun.stage) : null,
      graphs: begun.graphs ?? events.filter((e) => e.name === "torch.compile.graph").length,
    },
  };
}

/** A compile that was cut off when its process died. */
export function cutOff(begun) {
  const span = goingOn(begun, []);
  const end = span.start + begun.elapsed_s * 1000;
  return { ...span, end, kinds: [...span.kinds, "failed"],
    details: { ...span.details, outcome: "never ended", seconds: begun.elapsed_s } };
}

/** The parts of a start other than compiles; waiting has no bar. */
export function partsOf(start) {
  const shown = start.segments.filter((each) => !["compile", "other", "wait"].includes(each.part));
  return shown.map((each) => ({
    key: `${each.part}-${each.started_at}`, row: PARTS[each.part],
    name: [PARTS[each.part], each.name].filter(Boolean).join(" "),
    start: Date.parse(each.started_at),
    end: Date.parse(each.started_at) + each.duration_s * 1000,
    kinds: ["phase"], events: [], stages: [], details: { seconds: each.duration_s },
  }));
}

/** Seconds between two moments that are covered by at least one span. */
export function union(spans, from, to) {
  let [covered, until] = [0, from];
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    const [start, end] = [Math.max(span.start, until), Math.min(span.end ?? to, to)];
    if (end > start) [covered, until] = [covered + end - start, end];
  }
  return covered / 1000;
}
