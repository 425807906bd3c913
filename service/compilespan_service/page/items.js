// The items of a warmup: target, shape, state, seconds, compiles and error.

import { byId, element, show, table } from "./dom.js";
import { count, duration } from "./format.js";

const SIGNS = {
  pending: "○", running: "◐", warm: "●", eager: "◌", unstable: "↻", failed: "✕",
  unverified: "◍", cancelled: "–",
};

export function showItems(job, inProgress) {
  byId("items-section").hidden = !job?.items.length;
  if (!job?.items.length) return;
  const columns = [
    ["target", (item) => item.target],
    ["shape", (item) => element("code", {}, JSON.stringify(item.shape))],
    ["state", (item) => element("span", { class: `state ${item.state}` },
      `${SIGNS[item.state] ?? ""} ${stateText(item, job, inProgress)}`)],
    ["seconds", (item) => secondsText(item, inProgress), true],
    ["what", (item) => element("span", { class: "what" }, whatText(item))],
    ["why", (item) => item.error ?? ""],
  ];
  show(byId("items"), table("Items", columns, job.items));
}

function stateText(item, job, inProgress) {
  if (item.state === "running" && inProgress.length) return "compiling";
  return item.state === "unverified" && !job.ended_at ? "ran, not verified yet" : item.state;
}

function secondsText(item, inProgress) {
  const now_s = item.state === "running" ? inProgress[0]?.elapsed_s ?? 0 : 0;
  return item.calls || item.compiles || now_s ? duration(item.compile_s + now_s) : "–";
}

function whatText(item) {
  if (!item.compiles && !item.cache_result) return "";
  const cached = item.cache_result ? `, ${item.cache_result}` : "";
  return `${count(item.compiles, "compile", "compiles")}${cached}`;
}
