// The head of the page: who this is, whether it is ready, what compiling cost.

import { byId } from "./dom.js";
import { COMPONENTS, componentClass, count, duration, stageWord, worded } from "./format.js";

const STARTS = {
  cold: ", a cold start", warm: ", a warm start", "no cache": ", without a cache", unknown: "",
};

export function showAbout(totals, targets, device) {
  const parts = [targets.join(", "), `instance ${totals.scope.instance.slice(0, 8)}`];
  if (totals.versions.torch) parts.push(`torch ${totals.versions.torch}`);
  if (device) parts.push(device);
  if (totals.scope.processes > 1) parts.push(count(totals.scope.processes, "process", "processes"));
  byId("about").textContent = parts.filter(Boolean).join(" · ");
  document.title = targets.length ? `${targets.join(", ")} · compilespan` : "compilespan";
}

export function showReadiness(health, ready, totals, job, start) {
  const place = byId("readiness");
  const waiting = ["loading", "cold"].includes(health.state);
  place.className = ready ? "ready" : waiting ? "waiting" : "failed";
  if (ready) {
    place.textContent = totals && totals.ready_after_s !== null
      ? `● ready after ${duration(totals.ready_after_s)}${STARTS[start?.cache] ?? ""}` : "● ready";
  } else if (health.state === "loading") {
    place.textContent = `○ loading the models, ${duration(health.elapsed_s)}`;
  } else if (job && !job.ended_at && job.state !== "queued") {
    place.textContent = `○ warming up, ${duration(job.elapsed_s)}${compiling(totals)}`;
  } else if (health.state === "cold") {
    place.textContent = "○ cold: nothing is warmed up yet";
  } else {
    place.textContent = `✕ not ready: ${health.detail || health.state}`;
  }
}

function compiling(totals) {
  const begun = totals.in_progress[0];
  if (!begun) return "";
  const doing = begun.stage ? ` (${stageWord(begun.stage)})` : "";
  return `: compiling ${begun.name} for ${duration(begun.elapsed_s)}${doing}`;
}

export function showNumbers(totals) {
  const row = totals.total;
  const shown = COMPONENTS.filter((each) => !isEmpty(totals[each]));
  for (const component of COMPONENTS) {
    const seconds = totals[component].compile_s;
    set(componentClass(component), duration(seconds), seconds);
    byId(componentClass(component)).parentElement.hidden = shown.length > 0
      ? !shown.includes(component) : component === "other";
  }
  const asked = row.cache_hits + row.cache_misses + row.cache_bypasses;
  set("cache", asked ? `${row.cache_hits} of ${count(row.graphs, "graph", "graphs")}`
    : row.graphs ? "no cache" : "–", row.cache_hits);
  set("wall", duration(row.wall_s), row.wall_s);
  const serving = totals.by_phase.serving;
  const built = (kernels) => (kernels ? count(kernels, "kernel", "kernels") : "");
  const again = (recompiles) => count(recompiles, "recompile", "recompiles");
  set("serving-count", !serving ? again(0) : !serving.recompiles && built(serving.kernels)
    || [again(serving.recompiles), built(serving.kernels)].filter(Boolean).join(", "),
    serving ? serving.compile_s + serving.kernel_s : 0);
  const sum = COMPONENTS.reduce((seconds, each) => seconds + totals[each].compile_s, 0);
  COMPONENTS.forEach((each, index) => {
    byId("share").children[index].style.width
      = sum ? `${(totals[each].compile_s / sum) * 100}%` : "0";
  });
  const text = sum
    ? shown.map((each) => `${Math.round((totals[each].compile_s / sum) * 100)} % ${worded(each)}`)
      .join(", ")
    : built(row.kernels) || "nothing was compiled yet";
  byId("share").setAttribute("aria-label", text);
  byId("share-text").textContent = text;
}

function isEmpty(row) {
  return Object.values(row).every((value) => value === 0);
}

function set(id, text, exact) {
  byId(id).textContent = text;
  byId(id).title = String(exact);  // the exact value on hover
}
