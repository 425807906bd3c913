// The head of the page: name and instance, state or outcome, and the costs of compiling.

import { byId, copy, show } from "./dom.js";
import { COMPONENTS, componentClass, count, duration, stageWord } from "./format.js";

const STARTS = {
  cold: "a cold start", warm: "a warm start", "no cache": "a start without a cache", unknown: "",
};
const COMPILING = {
  encoder: "the encoder", language_model: "the language model", other: "the rest",
};

export function showAbout(totals, targets, device, name) {
  const parts = [
    name ?? (targets.length === 1 ? targets[0] : targets.length ? `${targets.length} targets` : null),
    totals.versions.torch && `torch ${totals.versions.torch}`, device,
    totals.scope.processes > 1 ? count(totals.scope.processes, "process", "processes") : null,
  ];
  byId("about").textContent = parts.filter(Boolean).join(" · ");
  document.title = [name ?? targets.join(", "), "compilespan"].filter(Boolean).join(" · ");
}

export function showInstance(id) {
  const name = document.createElement("span");
  name.textContent = `instance ${id.slice(0, 8)}`;
  name.title = id;
  show(byId("instance"), name, copy(id, "the instance's id"));
}

function say(kind, text) {
  byId("verdict").className = kind;
  if (byId("verdict").textContent !== text) byId("verdict").textContent = text;
}

/** "a cold start: 14.9 s compiling the encoder, 25.6 s the language model" */
export function startText(start) {
  if (!start) return "";
  const spent = COMPONENTS.filter((each) => start.compile[each] >= 0.005)
    .map((each) => [start.compile[each], COMPILING[each]]);
  const only = spent.length === 1 && spent[0][1] === COMPILING.other;
  const costs = spent.map(([seconds, what], index) =>
    `${duration(seconds)} ${only ? "compiling" : `${index ? "" : "compiling "}${what}`}`);
  return [STARTS[start.cache], costs.join(", ")].filter(Boolean).join(": ");
}

export function showVerdict({ health, ready, totals, job, start }) {
  const active = [...totals.in_progress].sort((a, b) => b.elapsed_s - a.elapsed_s);
  const begun = active.length ? { ...active[0], others: active.length - 1 } : null;
  const busy = job && !job.ended_at && job.state !== "queued";
  if (ready) {
    const text = [`Ready after ${duration(totals.ready_after_s)}`, startText(start)];
    const now = begun ? ` ${compiling(begun)} now.` : "";
    const isWarm = health.state !== "not-warm";
    const rest = isWarm ? "" : " Not everything is warm.";
    say(isWarm ? "ready" : "waiting", `${isWarm ? "●" : "◑"} ${text.filter(Boolean).join(", ")}.${rest}${now}`);
  } else if (health.state === "draining") {
    say("waiting", "○ Draining: it is shutting down and takes no more requests.");
  } else if (begun) {
    const ending = job?.state === "cancelling" ? "; the warmup ends after it" : "";
    say("busy", `◐ ${compiling(begun)}${busy ? place(job) : ""}${ending}.`);
  } else if (health.state === "loading") {
    say("busy", `◐ Loading the models for ${duration(health.elapsed_s)}.`);
  } else if (busy) {
    say("busy", `◐ Warming up for ${duration(job.elapsed_s)}${place(job)}.`);
  } else if (job && !job.ended_at) {
    say("busy", "◐ A warmup is queued.");
  } else if (health.state === "cold") {
    say("waiting", "○ Waiting for POST /warmup: nothing is warmed up yet.");
  } else {
    say("failed", `✕ Not ready: ${health.detail || health.state}`);
  }
}

/** The outcome of a program that has ended, for its report. */
export function showEnd(exitCode, seconds, start) {
  const how = exitCode === 0 || exitCode === null ? "Ran for"
    : exitCode < 0 ? `Ended by signal ${-exitCode} after` : `Ended with code ${exitCode} after`;
  const text = [`${how} ${duration(seconds)}`, startText(start)].filter(Boolean).join(", ");
  say(exitCode ? "failed" : "ready", `${exitCode ? "✕" : "●"} ${text}.`);
}

export function showTrouble(what) {
  say("failed", `✕ ${what}`);
}

export function showGone() {
  say("waiting", "○ Not reachable.");
}

function compiling(begun) {
  const doing = begun.stage ? ` (${stageWord(begun.stage)})` : "";
  const others = begun.others ? `, and ${begun.others} more` : "";
  return `Compiling ${begun.name} for ${duration(begun.elapsed_s)}${doing}${others}`;
}

function place(job) {
  const done = job.items.filter((item) => !["pending", "running"].includes(item.state)).length;
  return job.items.length ? `, shape ${Math.min(done + 1, job.items.length)} of ${job.items.length}` : "";
}

export function showNumbers(totals) {
  const row = totals.total;
  const active = new Set((totals.in_progress ?? []).map((begun) => begun.component));
  const shown = COMPONENTS.filter((each) => !isEmpty(totals[each]) || active.has(each));
  for (const component of COMPONENTS) {
    const seconds = totals[component].compile_s;
    set(componentClass(component), duration(seconds), seconds);
    byId(componentClass(component)).parentElement.hidden = !shown.includes(component);
  }
  byId("failed").parentElement.hidden = !row.failed;
  set("failed", duration(row.failed_s), `${row.failed_s} in ${row.failed}`);
  const asked = row.cache_hits + row.cache_misses + row.cache_bypasses;
  const rebuilt = row.cache_rebuilds ? `, code of ${row.cache_rebuilds} built again` : "";
  set("cache", asked ? `${row.cache_hits} of ${count(row.graphs, "graph", "graphs")}${rebuilt}`
    : row.graphs ? "no cache" : "–", row.cache_hits);
  set("wall", duration(row.wall_s), row.wall_s);
  const serving = totals.by_phase.serving;
  // First compiles count, too: a request waited for them.
  const found = [
    [serving?.compiles, "compile", "compiles"], [serving?.failed, "failure", "failures"],
    [serving?.kernels, "kernel", "kernels"],
  ].filter(([number]) => number).map((each) => count(...each));
  if (byId("serving-count")) set("serving-count", found.join(", ") || (totals.ready_after_s === null ? "–" : "nothing"),
    serving ? serving.compile_s + serving.failed_s + serving.kernel_s : 0);
}

function isEmpty(row) {
  return Object.values(row).every((value) => value === 0);
}

function set(id, text, exact) {
  byId(id).textContent = text;
  byId(id).title = String(exact);  // the exact value on hover
}

