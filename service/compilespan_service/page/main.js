// The live page: fetches the state of the server and updates the parts of the page.

import { Problem, Unauthorized, download, hasToken, json, useToken } from "./api.js";
import { showDetails } from "./details.js";
import { byId, element } from "./dom.js";
import { showFindings } from "./findings.js";
import { clock, day } from "./format.js";
import { showItems } from "./items.js";
import { showServing } from "./serving.js";
import { cutOff, goingOn, partsOf, spanOf } from "./spans.js";
import { showStart } from "./start.js";
import { showStarts } from "./starts.js";
import { MOST, isBusy, now, refresh, state, thisStart } from "./state.js";
import { drawWhole } from "./whole.js";
import { Timeline } from "./timeline.js";
import {
  showAbout, showGone, showInstance, showNumbers, showTrouble, showVerdict,
} from "./verdict.js";

const IDLE_MS = 4000;
const BUSY_MS = 1000;
const FRAME_MS = 250;
const SAID_MS = 15_000;

let isLocked = false;  // no token was entered: do not ask again until the button is pressed

const look = (span) => showDetails(byId("details"), span, thisStart()?.trace_url);
const timeline = new Timeline(byId("timeline"), {
  onSpan: look,
  onZoom: (isZoomed) => { byId("whole").hidden = !isZoomed; },
});

function show() {
  const { totals, job } = state;
  if (!totals) return;
  const start = thisStart();
  const targets = new Set(state.jobs.flatMap((each) => each.items.map((item) => item.target)));
  showAbout(totals, [...targets], start?.device);
  showInstance(totals.scope.instance);
  if (!isStale()) {
    showVerdict({ ...state, start });
    notice(failureOf(job) ?? said());
  }
  showStart(start, state.totals.cache);
  showNumbers(totals);
  showFindings(state.findings, totals.ready_after_s);
  showItems(job, totals.in_progress);
  button(isBusy() || isStale());
  choices();
  showTimeline();
  const readyAt = totals.ready_after_s === null ? null
    : Date.parse(totals.since) + totals.ready_after_s * 1000;
  const serving = state.records.filter((record) => record.phase === "serving");
  showServing(serving, readyAt, now(), look);
  showStarts(state.starts);
}

/** Whether the page shows old data, because the server is gone or locked. */
function isStale() {
  return document.body.classList.contains("stale");
}

/** Sets aria-disabled, because `disabled` would take the focus away. */
function button(isOff) {
  byId("warm-up").setAttribute("aria-disabled", String(isOff));
  byId("warm-up").textContent = isBusy() ? "Warming up …" : "Warm up";
}

function said() {
  return state.said && Date.now() < state.said.until ? state.said.text : null;
}

function say(text, isGood = false) {
  state.said = { text, isGood, until: Date.now() + SAID_MS };
}

const ENDS = { failed: "failed", timed_out: "timed out", cancelled: "was cancelled" };

function failureOf(job) {
  if (!job || !job.ended_at || job.state === "succeeded") return job?.warnings?.[0] ?? null;
  const item = job.items.find((each) => each.error);
  const why = !item ? job.error ?? ""
    : item.error.startsWith(item.target) ? item.error
      : `${item.target} ${JSON.stringify(item.shape)}: ${item.error}`;
  return `The warmup ${ENDS[job.state] ?? job.state}.`
    + (why ? ` ${why[0].toUpperCase()}${why.slice(1)}` : "");
}

function choices() {
  const wanted = [["startup", "the start"], ...state.jobs.map((job) => [job.id, nameOf(job)])];
  const select = byId("which");
  if ([...select.options].map((option) => option.value).join() !== wanted.map((w) => w[0]).join()) {
    select.replaceChildren(...wanted.map(([value, text]) => element("option", { value }, text)));
    select.value = wanted.some(([value]) => value === state.which) ? state.which : "startup";
  }
}

function nameOf(job) {
  return `the warmup of ${clock(job.created_at)}, ${job.state.replace("_", " ")}`;
}

function showTimeline() {
  // While nothing compiles, the timeline ends at the last answer.
  const until = isBusy() ? now() : Date.parse(state.totals.as_of);
  const chosen = state.jobs.find((each) => each.id === state.which);
  const since = Date.parse(state.totals.since);
  let [from, to, title] = [since, until, "The start"];
  if (chosen) {
    const job = chosen.id === state.job?.id ? state.job : chosen;
    from = Date.parse(job.started_at ?? job.created_at);
    to = job.ended_at ? Date.parse(job.ended_at) : until;
    title = `The warmup of ${day(job.created_at)}`;
  } else if (state.totals.ready_after_s !== null) {
    to = since + state.totals.ready_after_s * 1000;
  } else if (state.job?.ended_at) {
    to = Date.parse(state.job.ended_at);
  }
  const start = thisStart();
  const spans = [...(start && !chosen ? partsOf(start) : []), ...compiles()]
    .filter((span) => span.start <= to && (span.end ?? until) >= from);
  const wait = chosen ? 0 : start?.start.wait ?? 0;
  const isCut = state.records.length >= MOST;
  drawWhole(timeline, { title, spans, from, to, wait, isCut });
}

function compiles() {
  const seen = new Set();
  const ended = state.records.map(spanOf).filter((span) => !seen.has(span.key) && seen.add(span.key));
  const stages = new Map(state.totals.in_progress.map((each) =>
    [Date.parse(each.started_at), each.stage]));
  const followed = [...state.live.values()].map((begun) =>
    goingOn({ ...begun, stage: stages.get(Date.parse(begun.started_at)) }, begun.events));
  const others = state.totals.in_progress
    .filter((each) => ![...followed, ...ended].some((span) => span.start === Date.parse(each.started_at)))
    .map((each) => goingOn(each, []));
  const cut = (thisStart()?.interrupted ?? []).map(cutOff);
  return [...ended, ...followed, ...others, ...cut].sort((a, b) => a.start - b.start);
}

function notice(text) {
  byId("notice").hidden = !text;
  byId("notice").classList.toggle("good", text === said() && state.said?.isGood === true);
  if (text && byId("notice").textContent !== text) byId("notice").textContent = text;
}

/** Ask for the token; if the dialog is closed, ask again only when the button is pressed. */
async function askToken(why) {
  const dialog = byId("token-dialog");
  if (dialog.open) return;
  if (why) byId("token-why").textContent = why;
  byId("token").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  isLocked = dialog.returnValue !== "ok" || !byId("token").value;
  if (!isLocked) useToken(byId("token").value);
  byId("unlock").hidden = !isLocked;
}

async function guarded(action) {
  try {
    await action();
    document.body.classList.remove("stale");
    return true;
  } catch (error) {
    document.body.classList.add("stale");
    if (error instanceof Unauthorized) {
      showTrouble("Locked: this server requires a token.");
      button(true);
      await askToken(hasToken() ? "The token was not accepted. Try another one." : "");
    } else if (error instanceof Problem) {
      if (!state.totals) showTrouble("The server answered with an error.");
      notice(error.message);
      say(error.message);
    } else {
      showGone();
      button(true);
      notice("The server does not answer; asking again. The page shows old data.");
    }
    return false;
  }
}

async function warmUp() {
  if (byId("warm-up").getAttribute("aria-disabled") === "true") return;
  button(true);
  await guarded(async () => {
    const job = await json("warmup", { method: "POST" });
    if (job.already_warm) say("All is warm already; nothing was left to do.", true);
    await refresh();
    show();
  });
}

async function loop() {
  while (true) {
    if (!isLocked && await guarded(refresh)) show();
    const pause = isBusy() || !state.ready ? BUSY_MS : IDLE_MS;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

byId("warm-up").addEventListener("click", warmUp);
byId("unlock").addEventListener("click", () => guarded(() => askToken("")));
byId("whole").addEventListener("click", () => timeline.zoom(null));
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
addEventListener("resize", () => state.totals && show());
setInterval(() => {
  if (state.totals && isBusy() && !document.hidden) showTimeline();
}, FRAME_MS);
loop();
