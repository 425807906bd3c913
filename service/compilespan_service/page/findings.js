// What cost the most, and what to do about it.

import { byId, copy, element } from "./dom.js";
import { duration, shortPath } from "./format.js";

let shown = "[]";  // redrawn only after a change, so that unfolded details stay open

/**
 * whole: seconds of the whole start, null if unknown;
 * most: how many findings to show; rest: where to find the others.
 */
export function showFindings(findings, whole, { most = 10, rest = "GET /findings" } = {}) {
  if (JSON.stringify(findings) === shown) return;
  shown = JSON.stringify(findings);
  const place = byId("findings");
  byId("findings-section").hidden = !findings.length;
  byId("of-whole").textContent = whole ? `of ${duration(whole)}` : "";
  const open = new Set([...place.querySelectorAll("li:has(details[open])")].map((li) => li.dataset.key));
  const held = heldBy(place);
  place.replaceChildren(...findings.slice(0, most).map((finding) => row(finding, open)));
  const more = findings.length - most;
  if (more > 0) {
    place.append(element("li", { class: "muted" },
      element("span", { class: "fix" }, `and ${more} more, in ${rest}`)));
  }
  if (held) {
    const again = [...place.children].find((li) => li.dataset.key === held.key);
    again?.querySelector(held.selector)?.focus();
  }
}

/** Which element has the focus, to restore it later. */
function heldBy(place) {
  const active = document.activeElement;
  if (!place.contains(active)) return null;
  return { key: active.closest("li")?.dataset.key, selector: active.matches("summary") ? "summary" : "button" };
}

function row(finding, open) {
  const key = [finding.code, finding.name, finding.file, finding.line].join(" ");
  const where = finding.file ? `${finding.file}${finding.line ? `:${finding.line}` : ""}` : "";
  return element("li", { class: finding.is_serious ? "serious" : "", "data-key": key },
    element("span", { class: "seconds" },
      (finding.is_serious ? "✕ " : "") + (finding.seconds ? duration(finding.seconds) : "–")),
    element("span", { class: "what" }, finding.what),
    element("span", { class: "fix" }, `→ ${finding.fix}`),
    where ? element("span", { class: "where" },
      element("span", { title: where }, shortPath(where)), copy(where, "the place"))
      : null,
    element("details", { open: open.has(key) ? "" : null },
      element("summary", {}, `${finding.code}: why`),
      element("p", {}, finding.evidence),
      ...(finding.compiles ?? []).slice(0, 1).map((each) => element("p", { class: "muted" },
        `compile ${each.compile_id} of process ${each.pid}${each.dump ? `: ${each.dump}` : ""}`)),
      ...(finding.link.startsWith("https://")
        ? [element("p", {}, element("a",
          { href: finding.link, target: "_blank", rel: "noopener noreferrer" }, finding.link))]
        : [])));
}
