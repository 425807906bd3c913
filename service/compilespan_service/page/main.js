// Brings data and page together: asks again and again, follows the running job, shows both.

import { Problem, Unauthorized, download, events, hasToken, json, useToken } from "./api.js";
import { byId, element } from "./dom.js";
import { componentClass, day, stageWord, worded } from "./format.js";
import { showFindings } from "./findings.js";
import { showServing, showStarts } from "./history.js";
import { showStart } from "./start.js";
import { showAbout, showNumbers, showReadiness } from "./summary.js";
import { drawTimeline, spanOf } from "./timeline.js";

const IDLE_MS = 4000;
const BUSY_MS = 1000;
const FRAME_MS = 250;

const state = {
  totals: null, health: null, ready: false, job: null, jobs: [], records: [], starts: [],
  findings: [], compiled: null,
  live: new Map(),  // compiles of the followed job that go on, by key
  followed: null, which: "startup", said: null,
};

async function refresh() {
  const [health, totals] = await Promise.all([json("livez"), json("totals")]);
  const [jobs, records, starts] = await Promise.all([
    json("warmup/jobs"), json("compiles?limit=2000"), json("history"),
  ]);
  // They change with what was compiled only.
  const compiled = JSON.stringify([totals.total, totals.ready_after_s, jobs[0]?.state]);
  const findings = compiled === state.compiled ? state.findings : await json("findings");
  // Not by /readyz: its 503 is no error, but browsers log it as one.
  const ready = totals.ready_after_s !== null && health.state !== "draining";
  Object.assign(state, {
    health, totals, jobs, records, starts, findings, compiled, ready, job: jobs[0] ?? null,
  });
  if (state.job && !state.job.ended_at && state.followed !== state.job.id) follow(state.job.id);
}

async function follow(id) {
  state.followed = id;
  state.live.clear();
  try {
    for await (const [name, data] of events(`warmup/jobs/${id}/events`)) {
      if (name === "begin") state.live.set(data.key, { ...data, events: [] });
      if (name === "graph" || name === "event") state.live.get(data.key)?.events.push(data);
      if (name === "compile") {
        state.live.delete(data.key);
        state.records = [data.compile, ...state.records];
      }
      if (name === "job") state.job = data;
      if (name === "end") break;
    }
  } catch {
    state.followed = null;  // the server went away; the next refresh says so
  }
  state.live.clear();
}

function show() {
  const { totals, health, job } = state;
  if (!totals) return;
  const targets = new Set(state.jobs.flatMap((each) => each.items.map((item) => item.target)));
  showAbout(totals, [...targets], thisStart()?.device);
  showReadiness(health, state.ready, totals, job, thisStart());
  showStart(thisStart());
  showNumbers(totals);
  showFindings(state.findings);
  const busy = Boolean(job && !job.ended_at);
  byId("warm-up").disabled = busy;
  byId("warm-up").textContent = busy ? "Warming up …" : "Warm up";
  notice(failureOf(job) ?? state.said);
  choices();
  showTimeline();
  showServing(state.records.filter((record) => record.phase === "serving"), state.ready);
  showStarts(state.starts);
}

function failureOf(job) {
  if (!job || !job.ended_at || job.state === "succeeded") return job?.warnings?.[0] ?? null;
  const item = job.items.find((each) => each.error);
  const why = item ? `${item.target} ${JSON.stringify(item.shape)}: ${item.error}` : job.error ?? "";
  return `The warmup ${job.state.replace("_", " ")}. ${why}`;
}

function choices() {
  const wanted = [["startup", "the start"], ...state.jobs.slice(0, 8).map((job) =>
    [job.id, `the warmup of ${day(job.created_at)}`])];
  const select = byId("which");
  if ([...select.options].map((option) => option.value).join() !== wanted.map((w) => w[0]).join()) {
    select.replaceChildren(...wanted.map(([value, text]) => element("option", { value }, text)));
    select.value = wanted.some(([value]) => value === state.which) ? state.which : "startup";
  }
}

function showTimeline() {
  const now = Date.now();
  const job = state.jobs.find((each) => each.id === state.which);
  const since = Date.parse(state.totals.since);
  let [from, to, title] = [since, now, "startup"];
  if (job) {
    const current = job.id === state.job?.id ? state.job : job;
    from = Date.parse(current.started_at ?? current.created_at);
    to = current.ended_at ? Date.parse(current.ended_at) : now;
    title = "warmup";
  } else if (state.totals.ready_after_s !== null) {
    to = since + state.totals.ready_after_s * 1000;
  } else if (state.job?.ended_at) {
    to = Date.parse(state.job.ended_at);
  }
  const spans = [...parts(job), ...compiles()]
    .filter((span) => span.start <= to && (span.end ?? now) >= from);
  drawTimeline(`${title} ${job?.id ?? ""}`, spans, from, to, union(spans, from, to));
}

function thisStart() {
  return state.starts.find((each) => each.instance === state.totals.scope.instance);
}

/** The parts of the start that no compile shows. */
function parts(job) {
  const start = thisStart();
  if (job || !start) return [];
  return start.segments.filter((each) => !["compile", "other"].includes(each.part)).map((each) => ({
    key: each.started_at, name: each.name ? `${each.part} ${each.name}` : each.part, row: each.part,
    start: Date.parse(each.started_at),
    end: Date.parse(each.started_at) + each.duration_s * 1000,
    kinds: ["phase"], events: [], attributes: { seconds: each.duration_s },
  }));
}

function compiles() {
  const seen = new Set();
  const ended = state.records.map(spanOf).filter((span) => !seen.has(span.key) && seen.add(span.key));
  const stages = new Map(state.totals.in_progress.map((each) =>
    [Date.parse(each.started_at), each.stage]));
  const followed = [...state.live.values()].map((begun) =>
    goingOn({ ...begun, stage: stages.get(Date.parse(begun.started_at)) }, begun.events));
  const others = state.totals.in_progress
    .filter((each) => !followed.some((span) => span.start === Date.parse(each.started_at)))
    .filter((each) => !ended.some((span) => span.start === Date.parse(each.started_at)))
    .map((each) => goingOn(each, []));
  return [...ended, ...followed, ...others].sort((a, b) => a.start - b.start);
}

function goingOn(begun, inside) {
  return {
    key: `live-${begun.key ?? begun.started_at}`, name: begun.name, row: begun.name,
    start: Date.parse(begun.started_at), end: null,
    kinds: [componentClass(begun.component)], events: inside,
    attributes: {
      component: worded(begun.component), outcome: "still compiling",
      stage: stageWord(begun.stage),
      graphs: begun.graphs ?? inside.filter((e) => e.name === "torch.compile.graph").length,
    },
  };
}

/** Seconds between two moments that at least one span covers. */
function union(spans, from, to) {
  let [covered, until] = [0, from];
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    const [start, end] = [Math.max(span.start, until), Math.min(span.end ?? to, to)];
    if (end > start) [covered, until] = [covered + end - start, end];
  }
  return covered / 1000;
}

function notice(text) {
  byId("notice").hidden = !text;
  if (text && byId("notice").textContent !== text) byId("notice").textContent = text;
}

async function askToken(why) {
  const dialog = byId("token-dialog");
  if (dialog.open) return;
  if (hasToken()) byId("token-why").textContent = why;
  byId("token").value = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  if (dialog.returnValue === "ok" && byId("token").value) useToken(byId("token").value);
}

async function guarded(action) {
  try {
    await action();
    document.body.classList.remove("stale");
    return true;
  } catch (error) {
    document.body.classList.add("stale");
    if (error instanceof Unauthorized) {
      byId("readiness").textContent = "locked: the token is needed";
      await askToken(hasToken() ? "The token was not accepted. Try another one." : "");
    } else if (error instanceof Problem) {
      notice(error.message);
    } else {
      byId("readiness").textContent = "○ not reachable";
      notice("The server does not answer; asking again. What is shown is from before.");
    }
    return false;
  }
}

async function warmUp() {
  byId("warm-up").disabled = true;
  await guarded(async () => {
    const job = await json("warmup", { method: "POST" });
    state.said = job.already_warm ? "All is warm already; nothing was left to do." : null;
    await refresh();
    show();
  });
}

async function loop() {
  while (true) {
    if (await guarded(refresh)) show();
    const busy = state.job && !state.job.ended_at;
    await new Promise((resolve) => setTimeout(resolve, busy || !state.ready ? BUSY_MS : IDLE_MS));
  }
}

byId("warm-up").addEventListener("click", warmUp);
byId("which").addEventListener("change", (event) => {
  state.which = event.target.value;
  show();
});
for (const [id, name] of [["trace", "compilespan-trace.json"], ["metrics", "metrics.txt"]]) {
  byId(id).addEventListener("click", (event) => {
    if (!hasToken()) return;
    event.preventDefault();
    guarded(() => download(byId(id).getAttribute("href"), name));
  });
}
addEventListener("resize", () => state.totals && showTimeline());
setInterval(() => {
  if (state.totals && state.job && !state.job.ended_at && !document.hidden) showTimeline();
}, FRAME_MS);
loop();
