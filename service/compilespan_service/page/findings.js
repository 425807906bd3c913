// What cost the most, and what to do about it.

import { byId, element } from "./dom.js";
import { duration } from "./format.js";

const SHOWN = 10;

let shown = "[]";  // what is unfolded stays so while nothing changes

export function showFindings(findings) {
  if (JSON.stringify(findings) === shown) return;
  shown = JSON.stringify(findings);
  const place = byId("findings");
  byId("findings-section").hidden = !findings.length;
  place.replaceChildren(...findings.slice(0, SHOWN).map(row));
  const more = findings.length - SHOWN;
  if (more > 0) place.append(element("li", { class: "muted" }, `and ${more} more, in GET /findings`));
}

function row(finding) {
  const where = finding.file ? `${finding.file}${finding.line ? `:${finding.line}` : ""}` : "";
  const item = element("li", { class: finding.is_serious ? "serious" : "" },
    element("span", { class: "seconds" },
      (finding.is_serious ? "✕ " : "") + (finding.seconds ? duration(finding.seconds) : "–")),
    element("span", { class: "what" }, finding.what),
    element("span", { class: "fix" }, `→ ${finding.fix}`),
    element("details", {},
      element("summary", {}, `${finding.code}: why`),
      element("p", {}, finding.evidence),
      ...(where ? [element("p", {}, where)] : []),
      ...(finding.link.startsWith("https://")
        ? [element("p", {}, element("a", { href: finding.link, rel: "noreferrer" }, finding.link))]
        : [])));
  return item;
}
