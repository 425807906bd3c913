// The parts of the start: one bar whose pieces add up to the start, and the same in words.

import { byId, element } from "./dom.js";
import { componentClass, duration, worded } from "./format.js";

const PARTS = {
  boot: "starting Python", import: "import", load: "load", capture: "cudagraphs",
  wait: "waiting", other: "other",
};
const ORDER = ["boot", "import", "load", "wait", "compile", "capture", "other"];

/** One piece for each part; `compile` has one piece per component, and `other` is last. */
export function pieces(start) {
  const made = [];
  for (const part of ORDER) {
    if (part === "compile") {
      for (const [component, seconds] of Object.entries(start.compile)) {
        made.push({ name: compiling(component), kind: componentClass(component), seconds });
      }
    } else {
      const awaited = part === "wait" ? waitedFor(start.segments) : "";
      made.push({ name: PARTS[part] + awaited, kind: `part-${part}`, seconds: start.start[part] ?? 0 });
    }
  }
  return made.filter((piece) => piece.seconds >= 0.005);
}

/** What the server waited for: a request, or a replica that built the same. */
function waitedFor(segments) {
  const names = segments.filter((each) => each.part === "wait" && each.name).map((each) => each.name);
  return names.length ? ` for ${[...new Set(names)].join(" and ")}` : "";
}

function compiling(component) {
  return component === "other" ? "compiling" : worded(component);
}

/** What the compile cache that replicas share saved, and what it cost; empty without one. */
function sharedCache(cache) {
  return [
    cache?.fetched_files && `${cache.used_graphs} of ${cache.fetched_graphs} graphs used, saved ${duration(cache.saved_s)}, fetched in ${duration(cache.fetch_s)}`,
    cache?.published_files && `published ${cache.published_files} files in ${duration(cache.publish_s)}`,
    cache?.quarantined && `${cache.quarantined} put into quarantine`,
  ].filter(Boolean).join(", ");
}

export function showStart(start, cache) {
  const place = byId("start");
  place.hidden = !start || !start.segments.length;
  if (place.hidden) return;
  const made = pieces(start);
  const whole = made.reduce((seconds, piece) => seconds + piece.seconds, 0);
  byId("start-bar").replaceChildren(...made.map((piece) => {
    const part = element("span", { class: piece.kind, title: `${piece.name} ${duration(piece.seconds)}` });
    part.style.width = `${(piece.seconds / whole) * 100}%`;
    return part;
  }));
  const text = made.map((piece) => `${piece.name} ${duration(piece.seconds)}`).join(", ");
  byId("start-bar").setAttribute("aria-label", `The start: ${text}`);
  byId("start-parts").replaceChildren(...made.map((piece) =>
    element("li", { class: piece.kind }, `${piece.name} ${duration(piece.seconds)}`)));
  const imports = Object.entries(start.imports).filter(([, seconds]) => seconds >= 0.1);
  const named = imports.slice(0, 4);
  const rest = (start.start.import ?? 0) - named.reduce((sum, [, seconds]) => sum + seconds, 0);
  const imported = [...named, ...(rest >= 0.1 && named.length ? [["others", rest]] : [])]
    .map(([name, seconds]) => `${name} ${duration(seconds)}`);
  const beside = Object.entries(start.beside ?? {}).filter(([, seconds]) => seconds >= 0.05)
    .map(([part, seconds]) => `${PARTS[part] ?? part} ${duration(seconds)}`);
  byId("start-imports").textContent = [
    imported.length && `imported: ${imported.join(", ")}`,
    beside.length && `in other processes at the same time: ${beside.join(", ")}`,
    sharedCache(cache) && `shared cache: ${sharedCache(cache)}`,
  ].filter(Boolean).join(" · ");
}
